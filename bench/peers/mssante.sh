#!/bin/bash
# The project itself as a server for bench.py, by its public commands only (see docs/commands.md).
#   mssante.sh start | stop | pids | wipe | fill      MSSANTE=path of its command
. "$(dirname "$0")/common.sh"
M=$(readlink -f "${MSSANTE:-.venv/bin/mssante}"); D=$B/mssante; P=$PORT
case ${1:-} in
  start)
    make_users
    if [ ! -s $D/ok ]; then
      "$M" init $D/a --operator Bench --domain mss.test --hostname mx.mss.test --port-base $P --dns 127.0.0.1:$((P + 53)) || exit 1
      "$M" init $D/b --operator Sender --domain sender.mss.test --hostname sender.mss.test --port-base $((P + 50)) --join $D/a || exit 1
      mkdir -p $D/pki; cp $D/a/pki/ca.pem $D/pki/ca.crt; cp $D/b/pki/operator.pem $D/pki/client.crt; cp $D/b/pki/operator.key $D/pki/client.key
      cp $PKI/dkim.key $PKI/dkim.pub.b64 $D/pki/
      { echo "address,type,finess,nom,prenom,password"; sed 's/$/,ORG,750000002,BENCH,Bench,secret-of-the-bench/' $B/users; } > $D/users.csv
      "$M" -c $D/a/mssante.toml bal import $D/users.csv || exit 1
      echo 1 > $D/ok
    fi
    bg_in_cg mssante-dns $D/dns.pid $D/dns.log python3 "$HERE/dns_stub.py" $((P + 53)) $D/pki/dkim.pub.b64
    ( cd $D/a && bg_in_cg mssante $D/serve.pid $D/serve.log "$M" -c $D/a/mssante.toml serve )
    wait_port $P && wait_port $((P + 4)) && log "started $(cat $D/serve.pid): ./bench.py run mssante --smtp $P --imap $((P + 4)) --cgroup $CG/mailbench/mssante --pids $(cat $D/serve.pid)  with MAILBENCH_PKI=$D/pki" ;;
  stop) stop_pidfile $D/serve.pid; stop_pidfile $D/dns.pid ;;
  pids) cat $D/serve.pid ;;
  wipe) rm -rf $D ;;
  fill)  # big10k and big100k, beside the server that runs
    for n in 10 100; do
      python3 "$HERE/mkmaildir.py" $B/src${n}k ${n}000
      "$M" -c $D/a/mssante.toml bal load big${n}k@mss.test --from $B/src${n}k || exit 1
    done
    # The server reads for search what was loaded, once its store is quiet; what is measured comes after that.
    spent() { awk '{print $14 + $15}' "/proc/$(cat $D/serve.pid)/stat"; }   # hundredths of a second of CPU
    sleep 65; until u=$(spent); sleep 5; [ $(($(spent) - u)) -lt 25 ]; do :; done; log "loaded and read for search" ;;
  *) sed -n 2,3p "$0"; exit 2 ;;
esac
