#!/usr/bin/env bash
# Runs in the fresh root: types the README's first line, watches what it shows, presses Ctrl-C, looks what is left.
set -uo pipefail
cd /root/modhost
: "${FRESH_INSTALL_SECONDS:=1500}"
show_limit=30 # seconds from the end of the installation to all three modules at work
stop_limit=5  # seconds from Ctrl-C to silence
fail=0
verdict() { # verdict OK? TEXT
  if [ "$1" = 0 ]; then echo "ok    $2"; else echo "FAIL  $2"; fail=1; fi
}
# Everything that could be left: processes but our own, sockets, temporary directories and run directories. The compile
# cache below /tmp is npm's own and was there before anything of ours ran; /run/mount is the notebook of mount(8).
leftovers() {
  # Not ps: a minimal Debian has none.
  local dir args
  for dir in /proc/[0-9]*; do
    args=$(tr '\0' ' ' 2>/dev/null <"$dir/cmdline") || continue
    case $args in '' | 'bash /root/inside.sh ') ;; *) echo "process ${dir#/proc/} $args" ;; esac
  done
  find / -xdev \( -path /proc -o -path /sys \) -prune -o -type s -print 2>/dev/null | sed 's/^/socket /'
  find /tmp /run /var/tmp -mindepth 1 -not -path '/tmp/node-compile-cache*' -not -path '/run/mount*' 2>/dev/null | sed 's/^/temporary /'
}

if [ -n "${FRESH_PACKAGES:-}" ]; then
  apt-get update -qq && apt-get install -y -qq --no-install-recommends $FRESH_PACKAGES >/tmp/apt.log 2>&1 ||
    { tail -5 /tmp/apt.log; exit 1; }
  rm -f /tmp/apt.log
fi
echo "Node $(node -v), npm $(npm -v), $(python3 --version 2>&1 | head -1), $(go version 2>&1 | head -1)"
[ -z "$(ls -A /root | grep -vx -e modhost -e inside.sh -e .bashrc -e .profile)" ]
verdict $? 'HOME is empty but for the clone'

line=$(grep -o -m1 'npm ci && npm run setup -- --yes && npm start' README.md)
verdict $? 'the README names its first line'

# A process group of its own, as a terminal gives one to each line: Ctrl-C goes to all of it.
log=/var/log/first-line.log
set -m
bash -c "$line" >"$log" 2>&1 &
group=$!
set +m

begin=$SECONDS
until grep -q '^> .* start$\|^> node dist' "$log" 2>/dev/null || ! kill -0 "$group" 2>/dev/null ||
  [ $((SECONDS - begin)) -gt "$FRESH_INSTALL_SECONDS" ]; do sleep 0.5; done
grep -q '^> node dist' "$log"
verdict $? "installed and built in $((SECONDS - begin)) s"
started=$SECONDS

# A module tells a block with what it fetched about it: the event has no fees, so they came through a call.
reacts() { grep -Eq "$1.*connected height=[0-9]+ hash=[0-9a-f]{64} txs=[0-9]+ .*fees=[0-9]+sat" "$log"; }
modules=$(sed -n 's/^name = "\(.*\)"$/\1/p' conformance/modules/{typescript,python,go}/module.toml)
[ "$(wc -w <<<"$modules")" = 3 ]
verdict $? "three example modules: $(echo $modules)"
while [ $((SECONDS - started)) -le "$show_limit" ] && kill -0 "$group" 2>/dev/null; do
  all=0
  for module in $modules; do reacts "$module" || all=1; done
  [ $all = 0 ] && break
  sleep 0.5
done
for module in $modules; do
  reacts "$module"
  verdict $? "$module reacted to a block within $((SECONDS - started)) s"
done

echo '--- what it showed, last lines'
tail -n 25 "$log"
echo '---'

before=$SECONDS
kill -INT -- "-$group"
deadline=$((SECONDS + stop_limit))
while kill -0 "$group" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
! kill -0 "$group" 2>/dev/null
verdict $? "Ctrl-C ended it in $((SECONDS - before)) s"
left=$(leftovers)
[ -z "$left" ]
verdict $? 'nothing is left: no process, socket or temporary directory'
[ -z "$left" ] || echo "$left" | head -30
[ $fail = 0 ] && echo 'rehearsal passed' || { echo 'rehearsal failed'; tail -n 60 "$log" >&2; }
exit $fail
