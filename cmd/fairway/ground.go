package main

import (
	"context"
	"errors"
	"os"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fairway/admin"
	"fairway/cluster"
	"fairway/driver"
	"fairway/link"
	"fairway/nat"
	"fairway/nat/nftables"
	"fairway/store"
)

// A ground is what commands that explain things stand on: the settings and the
// records, from the daemon if one answers, and from the files if not, and what
// the records want the kernel to hold. What couldn't be had is an error in it.
type ground struct {
	config config
	client *admin.Client

	status    *admin.Status // nil: no daemon answers
	statusErr error
	records   store.Records
	instance  string
	storeErr  error
	driver    *driver.Driver // holds the records, and does nothing; nil with wantErr
	wantErr   error
	links     link.Set
	firewall  nat.State
	guarded   []nat.Guarded
	backend   string // who filters
	marks     nat.Marks
}

// groundFlags declares the flags of commands that work with the daemon down.
func groundFlags(cmd *cobra.Command, v *view, file *string) {
	v.socketFlag(cmd)
	cmd.Flags().StringVar(file, "config", defaultConfigFile, "`file` with the daemon's settings, for when it doesn't answer")
}

// newGround asks the daemon, reads the store, and works out what the records
// want. It changes nothing.
func newGround(cmd *cobra.Command, v *view, file string) (*ground, error) {
	if os.Geteuid() != 0 {
		return nil, &permissionError{cmd.CommandPath() + " looks at the kernel and at files of root's"}
	}
	g := &ground{}
	var err error
	if g.client, err = v.client(cmd); err != nil {
		return nil, err
	}
	settings := pflag.NewFlagSet("daemon", pflag.ContinueOnError)
	g.config.flags(settings)
	s, err := g.client.Status(cmd.Context())
	if err == nil {
		g.status = &s
		for name, value := range s.Settings {
			if f := settings.Lookup(name); f != nil && (value != "" || mayBeEmpty(f)) {
				_ = f.Value.Set(value) // a newer daemon's may be one that isn't known here
			}
		}
	} else {
		g.statusErr = err
		if _, err := fillSettings(settings, os.LookupEnv, file, cmd.Flags().Changed("config")); err != nil {
			return nil, err
		}
	}
	if err = g.read(cmd.Context()); err == nil && g.storeErr == nil {
		g.work()
	}
	return g, err
}

// read reads the store. Names of containers and networks are the daemon's: it
// learns them after it has committed the records, and writes them down later.
func (g *ground) read(ctx context.Context) (err error) {
	if g.marks, err = nat.MarksOf(g.config.MarkMask); err != nil {
		return err
	}
	if g.records, g.instance, g.storeErr = store.Read(g.config.StateDir); g.storeErr != nil {
		return nil
	}
	if g.status == nil || g.status.State == admin.StateRestoring {
		return nil
	}
	endpoints, err := g.client.Endpoints(ctx)
	if err != nil {
		return err
	}
	for _, e := range endpoints.Endpoints {
		if r, ok := g.records.Endpoints[e.ID]; ok {
			r.Container, r.ContainerID = e.Container, e.ContainerID
			g.records.Endpoints[e.ID] = r
		}
	}
	networks, err := g.client.Networks(ctx)
	for _, n := range networks.Networks {
		if r, ok := g.records.Networks[n.ID]; ok {
			r.Name = n.Name
			g.records.Networks[n.ID] = r
		}
	}
	return err
}

// modes are those of the daemon, to look at records with.
func (g *ground) modes() map[string]driver.Mode {
	local := g.config.Cluster.local()
	if !local.IsValid() {
		local = cluster.Advertised(g.records)
	}
	return modes(g.instance, nil, overlayMode{host: overlayHost(g.instance, local)})
}

// work works out what the records want, and by whom.
func (g *ground) work() {
	log := logrus.New()
	log.SetLevel(logrus.PanicLevel)
	g.driver, g.wantErr = driver.New(driver.Options{Instance: g.instance, Modes: g.modes(), Log: log}, g.records)
	if g.wantErr == nil {
		g.links, g.firewall, g.guarded = g.driver.Wanted()
	}
	switch {
	case g.status != nil && g.status.Firewall != "":
		g.backend = g.status.Firewall
	case g.config.Firewall != "auto":
		g.backend = g.config.Firewall
	default:
		g.backend = "iptables"
		if nftables.Usable() == nil {
			g.backend = "nftables"
		}
	}
}

// A permissionError is an admin.ErrPermission with a text of its own.
type permissionError struct{ text string }

func (e *permissionError) Error() string        { return e.text }
func (e *permissionError) Is(target error) bool { return errors.Is(target, admin.ErrPermission) }

// options are those of backends that only compare.
func (g *ground) options() nat.Options { return nat.Options{Instance: g.instance, Marks: g.marks} }

// engineSocket returns the path of Docker's API; "" if there is to be none.
func (g *ground) engineSocket() string { return g.config.DockerSocket }

// ask runs f unless no daemon answers.
func (g *ground) ask(ctx context.Context, f func(context.Context) error) error {
	if g.status == nil || g.status.State == admin.StateRestoring {
		return g.statusErr
	}
	return f(ctx)
}
