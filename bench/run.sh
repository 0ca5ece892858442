#!/bin/bash
# The same work for Postfix + Dovecot + OpenDKIM and for this operator, one after the other on this machine, then the ratios.
#   run.sh [quick|full]     RUNS=3 (medians); root, Debian 12; everything is under /tmp/mailbench and on loopback
cd "$(dirname "$0")" || exit 1
what=${1:-quick}; RUNS=${RUNS:-3}
command -v cc make >/dev/null && [ -e /usr/include/openssl/ssl.h ] ||
  { apt-get update -qq; apt-get install -y -qq gcc make libssl-dev >/dev/null; }
make -s mailload || exit 1
. peers/common.sh
export MSSANTE=${MSSANTE:-$PWD/../.venv/bin/mssante}
case $what in quick) sections="e2e conn push";; full) sections="e2e conn latency mix push";; *) sed -n 3p "$0"; exit 2;; esac
stamp=$(date +%Y%m%d-%H%M%S); peer=postfix-dovecot-$stamp; own=mssante-$stamp

peers/postfix-dovecot.sh start mdbox || exit 1
./bench.py run "$peer" --cgroup "$CG/mailbench/pd" --pids "$(peers/postfix-dovecot.sh pids)" --drain $B/postfix/spool --runs "$RUNS" $sections
peers/postfix-dovecot.sh stop

peers/mssante.sh wipe; peers/mssante.sh start || exit 1
MAILBENCH_PKI=$B/mssante/pki ./bench.py run "$own" --smtp 15500 --imap 15504 --cgroup "$CG/mailbench/mssante" --pids "$(peers/mssante.sh pids)" --runs "$RUNS" $sections
peers/mssante.sh stop

./bench.py report "$peer" "$own"
./ratios.py "$RES/$peer.jsonl" "$RES/$own.jsonl"
