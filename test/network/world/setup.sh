# Inside a network and a mount namespace of its own: names and resolver of this world, and a cable to the outside.
set -e
mount --bind "$WORLD_DIR/hosts" /etc/hosts
mount --bind "$WORLD_DIR/resolv.conf" /etc/resolv.conf
echo "host $$"
exec 3<&0
unshare --net /usr/bin/python3 "$WORLD_OUTER" <&3 &
outer=$!
while [ "$(readlink /proc/$outer/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
ip link set lo up
ip link add h0 type veth peer name o0 netns $outer
ip addr add 192.0.2.1/24 dev h0
ip -6 addr add 2001:db8::1/64 dev h0 nodad
ip link set h0 up
ip route add default via 192.0.2.2
ip -6 route add default via 2001:db8::2
wait $outer
