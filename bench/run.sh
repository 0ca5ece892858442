#!/bin/bash
# The same work for Postfix + Dovecot + OpenDKIM and for this operator, one after the other on this machine, then the ratios.
#   run.sh [quick|full|imap|delivery]     RUNS=3 (medians); root, Debian 12; everything is under MAILBENCH=/tmp/mailbench and on loopback, here from MAILBENCH_PORT=15500 on
# imap: short sessions, mailboxes of 10,000 and 100,000 messages, push, 1,000 and 5,000 idle connections (about 20 minutes)
# delivery: mail to other operators beside Postfix, dead destinations, a queue of 100,000, connections that bring nothing
cd "$(dirname "$0")" || exit 1
what=${1:-quick}; RUNS=${RUNS:-3}
command -v cc make >/dev/null && [ -e /usr/include/openssl/ssl.h ] ||
  { apt-get update -qq; apt-get install -y -qq gcc make libssl-dev >/dev/null; }
make -s mailload || exit 1
. peers/common.sh
export MSSANTE=${MSSANTE:-$PWD/../.venv/bin/mssante}
[ "$what" = delivery ] && { cd ..; .venv/bin/python bench/delivery.py --peer --runs "$RUNS" kept new dead && .venv/bin/python bench/delivery.py held long report; exit; }
case $what in quick) sections="e2e conn push";; full) sections="e2e conn latency mix push";; imap) sections="push mix big10k big100k";; *) sed -n 3,5p "$0"; exit 2;; esac
stamp=$(date +%Y%m%d-%H%M%S); peer=postfix-dovecot-$stamp; own=mssante-$stamp

peers/postfix-dovecot.sh start mdbox || exit 1
[ "$what" = imap ] && peers/fill-dovecot.sh mdbox
./bench.py run "$peer" --cgroup "$CG/mailbench/pd" --pids "$(peers/postfix-dovecot.sh pids)" --drain $B/postfix/spool --runs "$RUNS" $sections
# Dovecot's idle connections are smallest hibernated; its processes are started anew, as those of the sections before stay.
[ "$what" = imap ] && for n in 1000 5000; do
  HIBERNATE=3s peers/postfix-dovecot.sh start mdbox; ./bench.py run "$peer" --pids "$(peers/postfix-dovecot.sh pids)" --runs 1 idle$n
done
peers/postfix-dovecot.sh stop

peers/mssante.sh wipe; peers/mssante.sh start || exit 1
[ "$what" = imap ] && peers/mssante.sh fill
own() { MAILBENCH_PKI=$B/mssante/pki ./bench.py run "$own" --smtp $PORT --imap $((PORT + 4)) "$@" --pids "$(peers/mssante.sh pids)"; }
own --cgroup "$CG/mailbench/mssante" --runs "$RUNS" $sections
[ "$what" = imap ] && for n in 1000 5000; do peers/mssante.sh stop; peers/mssante.sh start; own --runs 1 idle$n; done
peers/mssante.sh stop

./bench.py report "$peer" "$own"
./ratios.py "$RES/$peer.jsonl" "$RES/$own.jsonl"
