package driver_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"fairway/driver"
	"fairway/nat"
	"fairway/store"
)

// Datagrams that came while rules were gone are not translated for as long as
// their client goes on sending, unless their connections are forgotten.
func TestRepairForgetsWhatWasNotTranslated(t *testing.T) {
	w := newWorld()
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), network))
	attach(t, d, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
	must(t, d.Publish(t.Context(), network.ID, "a", driver.PublishSpec{Ports: []store.PortBinding{
		{Proto: unix.IPPROTO_UDP, HostPort: 53, Port: 53},
	}}))
	_, err := d.Reconcile(t.Context()) // since then the firewall knows of all
	must(t, err)
	must(t, d.Quiesce(t.Context()))
	before := len(w.forgotten)
	for _, c := range []struct{ repairs, forgotten int }{{0, 0}, {2, 1}} {
		w.repairs = make([]nat.Repair, c.repairs)
		if n, err := d.RepairFirewall(t.Context()); n != c.repairs || err != nil {
			t.Errorf("repaired %d, %v, want %d", n, err, c.repairs)
		}
		must(t, d.Quiesce(t.Context()))
		forgotten := w.forgotten[before:]
		if len(forgotten) != c.forgotten {
			t.Fatalf("%d repairs: forgotten %v, want %d", c.repairs, forgotten, c.forgotten)
		}
		if c.forgotten > 0 && (len(forgotten[0].Ports) != 1 || forgotten[0].IPv4.IsValid()) {
			t.Errorf("forgotten %+v, want its port and no address", forgotten[0])
		}
	}
}
