#!/usr/bin/env bash
# The first line of the README on a machine that has nothing: see README.md beside this file.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)

cache=${FRESH_CACHE:-$repo/.cache/fresh-debian}
node_version=${FRESH_NODE:-24}
npm_version=${FRESH_NPM:-11}
extra=${FRESH_PACKAGES-python3 python3-venv golang-go}
install_limit=${FRESH_INSTALL_SECONDS:-1500}
[ "$(id -u)" = 0 ] || { echo 'needs root: debootstrap and pivot_root'; exit 2; }
for tool in debootstrap npm git unshare; do
  command -v "$tool" >/dev/null || { echo "needs $tool"; exit 2; }
done
mkdir -p "$cache"

# 1. The root of Debian 12, kept as an archive: the same bytes at every rehearsal.
archive=$cache/bookworm.tar
if [ ! -f "$archive" ]; then
  echo "building the Debian 12 root (a minute)"
  scratch=$(mktemp -d "$cache/bootstrap.XXXXXX")
  debootstrap --variant=minbase --include=ca-certificates,git bookworm "$scratch" >"$cache/debootstrap.log" 2>&1 ||
    { tail -5 "$cache/debootstrap.log"; exit 1; }
  tar -C "$scratch" -cf "$archive.part" . && mv "$archive.part" "$archive"
  rm -rf "$scratch"
fi

root=$(mktemp -d "$cache/root.XXXXXX")
if [ "${FRESH_KEEP:-0}" = 1 ]; then
  echo "the root stays in $root"
else
  trap 'rm -rf "$root"' EXIT
fi
tar -C "$root" -xf "$archive"
# mktemp gives 0700, but the root of a machine is open: apt and the modules run as users of their own.
chmod 755 "$root"

# 2. Node as npm distributes it: Debian 12's own is too old. The npm packages hold the programs.
pack=$cache/npm
mkdir -p "$pack"
case $(uname -m) in
  x86_64) arch=x64 ;;
  aarch64) arch=arm64 ;;
  *) echo "no Node package for $(uname -m)"; exit 2 ;;
esac
newest() { npm view "$1@$2" version --json 2>/dev/null | tr -d '[]",' | sed '/^ *$/d' | sort -V | tail -1 | tr -d ' '; }
node_release=$(newest "node-linux-$arch" "$node_version")
npm_release=$(newest npm "$npm_version")
for spec in "node-linux-$arch-$node_release" "npm-$npm_release"; do
  [ -f "$pack/$spec.tgz" ] || (cd "$pack" && npm pack -s "${spec%-*}@${spec##*-}" 2>/dev/null >/dev/null)
done
tar -C "$root/usr/local" --strip-components=1 -xzf "$pack/node-linux-$arch-$node_release.tgz"
mkdir -p "$root/usr/local/lib/node_modules/npm"
tar -C "$root/usr/local/lib/node_modules/npm" --strip-components=1 -xzf "$pack/npm-$npm_release.tgz"
chmod +x "$root"/usr/local/bin/node "$root"/usr/local/lib/node_modules/npm/bin/*.js
for name in npm npx; do ln -s "../lib/node_modules/npm/bin/$name-cli.js" "$root/usr/local/bin/$name"; done

# 3. How this machine reaches its package registries, copied at run time: nothing of it is in the repository.
cp /etc/resolv.conf "$root/etc/resolv.conf"
[ -f /etc/ssl/certs/ca-certificates.crt ] && cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
if grep -qs bookworm /etc/os-release; then
  : >"$root/etc/apt/sources.list"
  cp /etc/apt/sources.list "$root/etc/apt/" 2>/dev/null || true
  cp /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list "$root/etc/apt/sources.list.d/" 2>/dev/null || true
  find /etc/apt/apt.conf.d -type f ! -name '*docker*' ! -name '*packagekit*' ! -name '*appstream*' \
    -exec cp {} "$root/etc/apt/apt.conf.d/" \;
fi
for file in ${FRESH_FILES-/etc/pip.conf /usr/etc/npmrc /usr/local/etc/npmrc}; do
  if [ -f "$file" ]; then mkdir -p "$root$(dirname "$file")" && cp "$file" "$root$file"; fi
done
pass=()
for name in ${FRESH_ENV-http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY GOPROXY GONOSUMDB GOSUMDB \
  GOFLAGS PIP_INDEX_URL PIP_CERT SSL_CERT_FILE NODE_EXTRA_CA_CERTS NPM_CONFIG_REGISTRY}; do
  [ -n "${!name-}" ] && pass+=("$name=${!name}")
done

# 4. The clone, and what Done-when adds to the root: Go and Python.
git clone -q "$repo" "$root/root/modhost"
cp "$here/inside.sh" "$root/root/inside.sh"

# pivot_root, not chroot: user namespaces, which the modules' sandbox needs, are refused inside a chroot.
# shellcheck disable=SC2016
unshare --mount --pid --ipc --uts --fork --kill-child --propagation private bash -c '
  set -e
  root=$1
  shift
  mount --bind "$root" "$root"
  cd "$root"
  mount -t proc proc proc
  mount --rbind /dev dev
  mount --rbind /sys sys
  mount -t tmpfs tmpfs tmp && chmod 1777 tmp
  mount -t tmpfs tmpfs run
  mkdir .old
  pivot_root . .old
  cd /
  umount -l /.old && rmdir /.old
  exec env -i HOME=/root LANG=C.UTF-8 TERM=dumb DEBIAN_FRONTEND=noninteractive \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@" bash /root/inside.sh
' enter "$root" ${pass[@]+"${pass[@]}"} "FRESH_PACKAGES=$extra" "FRESH_INSTALL_SECONDS=$install_limit" </dev/null
