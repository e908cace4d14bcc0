package doctor

import (
	"context"
	"net"
)

// linkChecks are of links of the host that networks are built on.
func linkChecks() []Check {
	return []Check{
		{
			Code: "FW080", Name: "parent", Title: "a network waits for its parent link", Severity: Bad,
			Cause:  "The link named by the option parent isn't there: a card was unplugged, renamed, or its driver isn't loaded.",
			Loss:   "The network's containers have no link; new ones don't start.",
			Remedy: "Bring the link back under its name: the daemon makes the containers' links again by itself.",
			look:   lookParents,
		},
		{
			Code: "FW081", Name: "parent down", Title: "a network's parent link is down", Severity: Bad,
			Cause:  "Somebody took the link down, or never set it up.",
			Loss:   "The network's containers reach nobody.",
			Remedy: "The command sets it up; for good, have the host's network configuration do so.",
			look:   lookParentsDown,
		},
		{
			Code: "FW082", Name: "bridge", Title: "the bridge of the host that a network was put on is gone or down", Severity: Bad,
			Cause:  "The network names a bridge that was there (com.docker.network.bridge.name); its owner removed it or took it down.",
			Loss:   "The network's containers reach nobody.",
			Remedy: "Bring the bridge back: the daemon puts the containers' links on it again.",
			look:   lookBridges,
		},
	}
}

func lookParents(_ context.Context, p *Patient) (out []Finding, err error) {
	for _, n := range p.networks() {
		if parent := p.Want.Parents[n.ID]; parent != "" && n.Adopted && p.Host.link(parent) == nil {
			out = append(out, by(nil, "network %s waits for link %s", title(n), parent))
		}
	}
	return out, nil
}

func lookParentsDown(_ context.Context, p *Patient) (out []Finding, err error) {
	for _, n := range p.networks() {
		parent := p.Host.link(p.Want.Parents[n.ID])
		if parent == nil || !n.Adopted || parent.Attrs().Flags&net.FlagUp != 0 {
			continue
		}
		name := parent.Attrs().Name
		out = append(out, auto("ip link set "+quote(name)+" up", "network %s: its parent %s is down", title(n), name))
	}
	return out, nil
}

func lookBridges(_ context.Context, p *Patient) (out []Finding, err error) {
	for _, n := range p.networks() {
		if !n.Adopted || p.Want.Parents[n.ID] != "" {
			continue
		}
		bridge := p.Host.link(n.Link)
		switch {
		case bridge == nil:
			out = append(out, by(nil, "network %s: bridge %s is gone", title(n), n.Link))
		case bridge.Attrs().Flags&net.FlagUp == 0:
			out = append(out, auto("ip link set "+quote(n.Link)+" up", "network %s: bridge %s is down", title(n), n.Link))
		}
	}
	return out, nil
}
