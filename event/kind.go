package event

// Field is the field of a log entry that names the event it is.
const Field = "event"

// The names of events.
const (
	Ready         = "ready"
	NetworkCreate = "network-create"
	NetworkRemove = "network-remove"
	Attach        = "attach"
	Detach        = "detach"
	Publish       = "publish"
	Unpublish     = "unpublish"
	PortWaiting   = "port-waiting"
	PortTaken     = "port-taken"
	PortHeld      = "port-held"
	Repair        = "repair"
	Trouble       = "trouble"
	Recovered     = "recovered"
	Denied        = "denied"
	Stale         = "stale"
	ParentMissing = "parent-missing"
	ParentBack    = "parent-back"
	AddressTaken  = "address-taken"
	AddressLost   = "address-lost"
	Lease         = "lease"
	LeaseLost     = "lease-lost"
	DockerLost    = "docker-lost"
	DockerFound   = "docker-found"
	Reload        = "reload"

	ClusterMade    = "cluster-made"
	ClusterRemoved = "cluster-removed"
	ClusterWaiting = "cluster-waiting"
)

// A Kind is one kind of events.
type Kind struct {
	Name string
	// ID is its MESSAGE_ID in the journal: 128 bits, chosen once.
	ID    string
	Title string // one line
	// Text explains it and says what to do. @FIELD@ stands for a field of the
	// journal's entry.
	Text string
}

// Kinds returns all kinds of events. An ID never changes.
func Kinds() []Kind {
	return []Kind{
		{Ready, "773052d05d264c3694b8afa2e1220358", "Fairway is ready", "The daemon has restored its networks and serves Docker."},
		{NetworkCreate, "8a55862a1a9744c18fad3a3846602140", "A network was made", "Docker has made network @NETWORK@ with the driver fairway."},
		{NetworkRemove, "87504789bed44a71b4d09708a2afa34c", "A network was removed", "Docker has removed network @NETWORK@."},
		{Attach, "d103beb071074984a2ce415ed56d4bb5", "A container was attached to a network", "Endpoint @ENDPOINT@ of network @NETWORK@ is in a container now, with the address @ADDRESS@."},
		{Detach, "a29a31913b674ee7a78164fd7afc0018", "A container was detached from a network", "Endpoint @ENDPOINT@ of network @NETWORK@ has left its container."},
		{Publish, "fcf34273418c4b5d8919609e81c51a1b", "Ports of a container are published", "Endpoint @ENDPOINT@ of network @NETWORK@ publishes @PORTS@. fairway ports shows who reaches them."},
		{Unpublish, "3bb4f9997c214664be28de1f5c658b57", "Published ports were taken off the host", "Endpoint @ENDPOINT@ of network @NETWORK@ no longer publishes its ports."},
		{PortWaiting, "b6f55b4b25f943ccaf545f8b7e0b7629", "A port can't be published", "A port that fairway ports add had published can't be published again: somebody else has it. It is tried again until it is free. fairway ports says who has it."},
		{PortTaken, "7ef04dbbcff643ab936dcf8145567fd1", "A published port is somebody else's", "Another process of the host took a port that a container publishes while the daemon was down. Stop @HOLDER@, or publish the container on another port."},
		{PortHeld, "3a58da2faba54fdaa15e90b859bc3c76", "A published port is held again", "The daemon holds a port again that somebody else had taken."},
		{Repair, "c86287aeebba419bab6bbed0a498c52a", "Something in the kernel was repaired", "Somebody else changed or removed @OBJECT@; it is as recorded again. If this goes on, find out who: fairway doctor names programs that manage links and rules."},
		{Trouble, "8e44ebf133814e90b2073b9f98555d38", "The kernel can't be made as recorded", "What the records say can't be done. It is tried again until it works. The message says what the kernel answered; fairway doctor finds most causes."},
		{Recovered, "00af440fe0394f679e2265adfaaf2845", "What failed works again", "The kernel is as recorded again."},
		{Denied, "a660815a85c548a3b70f1cafbda04b84", "A container sends what isn't its own", "Container @CONTAINER@ sends from addresses that aren't its own, or as a router or DHCP server; the frames are dropped. If it is meant to, create its network with -o allow_addresses=, or -o antispoof=false."},
		{Stale, "9b6a4b0dfc82486ab9304090e3be05e2", "What Docker has forgotten was removed", "Docker doesn't know the endpoint or network any more, as after it was killed; fairway has removed it, too."},
		{ParentMissing, "c09c1dd541bb4898aba8983c1b16c747", "A link that networks are built on is missing", "Link @PARENT@ isn't there. Networks @NETWORKS@ wait for it; containers on them reach nobody meanwhile."},
		{ParentBack, "1c5d70d2702648b097194a23350801cc", "A link that networks are built on is back", "Link @PARENT@ is there again; the containers' links on it are made again."},
		{AddressTaken, "102d9c3325d640e9a9b19938372b8001", "Somebody else has an address", "Somebody on the LAN, or on this host, has @ADDRESS@, which was about to be given out, or is a container's. Two machines with one address disturb each other: find @HOLDER@."},
		{AddressLost, "f72bf24c88fa4f949fc3fdbe233bd0c0", "An address was taken off a container", "Docker has given an endpoint's IPv6 address to another endpoint."},
		{Lease, "1cb6d991ca164bba8b89b4d2263bec82", "A DHCP server has given an address", "The address @ADDRESS@ is leased from server @SERVER@ by link @PARENT@. fairway leases lists all."},
		{LeaseLost, "e6b77f8658b747bbae1f2824b98133ae", "A DHCP lease was lost", "No DHCP server stands by the address @ADDRESS@ of container @CONTAINER@ any more. The container keeps it, and the daemon goes on asking."},
		{DockerLost, "3c1958821d6e46c19a881dd059cac13f", "Docker's API is out of reach", "Names of containers aren't known, and what Docker forgets isn't cleaned up until it is back. Networks go on."},
		{DockerFound, "0ef87f8b7a414ae0bcf77b9f11f2a3b0", "Docker's API is watched", "The daemon knows the names of containers, and notices what Docker forgets."},
		{Reload, "928994453519437b88f157f04c646075", "Settings were read again", "The daemon has read its settings again. Those that can't change while it runs take effect at the next start."},
		{ClusterMade, "92182e8d12d14e53974bc378b88988ea", "A network of the cluster was made here", "fairway network create, on some host of the cluster, asked for network @NETWORK@; Docker has made it on this one."},
		{ClusterRemoved, "7ce002b1bf434c5ba4f01db4490975bb", "A network of the cluster was removed here", "fairway network rm or create, on some host of the cluster, had network @NETWORK@ removed or changed; Docker has removed it from this one. One that was changed is made anew at once."},
		{ClusterWaiting, "00aea8d533a54fed93b82f39b20ef070", "A network of the cluster can't be made or removed here", "Network @NETWORK@ isn't on this host as the cluster wants it: containers are attached, or Docker refuses. The message says which. It is tried again until it works; fairway network ls shows all hosts."},
	}
}
