// Package watch has fairway's objects in the kernel looked at as soon as the
// kernel says that others changed them.
//
// It listens to two groups of sockets: rules (nfnetlink, where iptables-nft is
// seen too; iptables-legacy tells nobody) and links, addresses and policy rules
// (rtnetlink). A notification never says enough to repair by it. It only wakes a
// lane, and that lane's look compares all: soon, but not as often as
// notifications come.
//
// What fairway does itself wakes nobody, as far as it can be told apart: the
// kernel names the program behind each change of rules; of links, only those
// count that a record wants and that the kernel no longer has as they must be.
package watch
