package link

// ipvlanModes are the kernel's numbers, IPVLAN_MODE_* in linux/if_link.h.
func ipvlanModes() map[IPvlanMode]int {
	return map[IPvlanMode]int{IPvlanL2: 0, IPvlanL3: 1, IPvlanL3S: 2}
}

// ipvlanFlags are the kernel's numbers, IPVLAN_F_* in linux/if_link.h.
func ipvlanFlags() map[IPvlanFlag]int {
	return map[IPvlanFlag]int{IPvlanBridge: 0, IPvlanPrivate: 1, IPvlanVEPA: 2}
}

// kind is the kernel's word for it.
func (m Macvlan) kind() string {
	if m.IPvlan != (IPvlan{}) {
		return "ipvlan"
	}
	return "macvlan"
}

// ownMAC reports whether the link has a MAC address of its own, whoever has set
// it: an ipvlan has its parent's for good.
func (m Macvlan) ownMAC() bool { return m.kind() == "macvlan" }
