package doctor

import (
	"context"
	"fmt"
	"time"
)

// engineChecks compare what Docker knows with the store.
func engineChecks() []Check {
	return []Check{
		{
			Code: "FW042", Name: "endpoint", Title: "Docker keeps an endpoint without a container", Severity: Bad,
			Cause:  "Docker was killed, or the daemon was down, while a container was removed.",
			Loss:   "`docker network rm` refuses (\"has active endpoints\"), and the address stays taken.",
			Remedy: "The command has Docker forget the endpoint.",
			look:   lookEndpoints,
		},
		{
			Code: "FW043", Name: "unknown network", Title: "Docker has a network that fairway knows nothing of", Severity: Bad,
			Cause:  "The state directory was replaced or restored from a backup that is older than the network.",
			Loss:   "Containers don't start on it.",
			Remedy: "Remove it and make it again. Containers that are on it must be disconnected before.",
			look:   lookUnknown,
		},
		{
			Code: "FW044", Name: "docker", Title: "Docker's API doesn't answer", Severity: Warning,
			Cause:  "Docker isn't running, or its socket is elsewhere: --docker-socket says where fairway looks.",
			Loss:   "Containers' names aren't known, and what Docker forgot isn't cleaned up.",
			Remedy: "Start Docker, or tell the daemon the right --docker-socket; \"\" if there is none.",
			look: func(_ context.Context, p *Patient) ([]Finding, error) {
				if p.EngineErr == nil {
					return nil, nil
				}
				return []Finding{auto("systemctl start docker", "%s", p.EngineErr)}, nil
			},
		},
		{
			Code: "FW046", Name: "stale", Title: "fairway keeps what Docker has forgotten", Severity: Warning,
			Cause:  "Docker was killed or its data was reset. The daemon removes such networks and endpoints by itself once Docker hasn't known them for a minute; so it is down, or can't.",
			Loss:   "Subnets, addresses and host ports stay taken.",
			Remedy: "Start the daemon and wait a minute; `journalctl -u fairway` says why if they stay.",
			look:   lookStale,
		},
	}
}

func (p *Patient) engine() error {
	switch {
	case p.Settings.DockerSocket == "":
		return skip("--docker-socket is empty")
	case p.Engine == nil:
		return skip("Docker's API doesn't answer (FW044)")
	case p.StoreErr != nil:
		return skip("the store can't be read")
	}
	return nil
}

func lookEndpoints(_ context.Context, p *Patient) (out []Finding, err error) {
	if err := p.engine(); err != nil {
		return nil, err
	}
	for _, n := range p.Engine.Networks {
		for id, e := range n.Endpoints {
			if e.ContainerID == "" {
				out = append(out, auto(fmt.Sprintf("docker network disconnect -f %s %s", quote(n.Name), quote(e.Name)),
					"endpoint %s of %q on network %s has no container; it blocks `docker network rm %s`", short(id), e.Name, n.Name, n.Name))
			}
		}
	}
	return out, nil
}

func lookUnknown(_ context.Context, p *Patient) (out []Finding, err error) {
	if err := p.engine(); err != nil {
		return nil, err
	}
	for id, n := range p.Engine.Networks {
		if _, ok := p.Records.Networks[id]; !ok {
			out = append(out, by([]string{"docker network rm " + quote(n.Name)}, "network %s (%s) isn't recorded", n.Name, short(id)))
		}
	}
	return out, nil
}

// grace is how long the daemon leaves alone what Docker doesn't know, twice.
const grace = 2 * time.Minute

func lookStale(_ context.Context, p *Patient) (out []Finding, err error) {
	if err := p.engine(); err != nil {
		return nil, err
	}
	old := func(created time.Time) bool {
		return p.Daemon == nil || p.Now.Sub(created) > grace && p.Now.Sub(p.Daemon.Started) > grace
	}
	for _, n := range p.networks() {
		known, ok := p.Engine.Networks[n.ID]
		if n.Engine != "" && n.Engine != p.Engine.ID {
			continue // another engine's
		}
		if !ok && old(n.Created) {
			out = append(out, by(p.restart(), "network %s isn't one of Docker's", title(n)))
			continue
		}
		for _, e := range p.endpoints(n.ID) {
			if _, there := known.Endpoints[e.ID]; ok && !there && old(e.Created) && e.Sandbox == "" {
				out = append(out, by(p.restart(), "%s on network %s isn't one of Docker's", called(e), title(n)))
			}
		}
	}
	return out, nil
}

func (p *Patient) restart() []string {
	if p.Daemon == nil {
		return []string{startDaemon}
	}
	return []string{"systemctl restart fairway"}
}
