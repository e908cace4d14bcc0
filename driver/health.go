package driver

import (
	"time"

	"fairway/event"
	"fairway/link"
	"fairway/nat"
)

// Health is what the looks at the kernel have found since the records were
// restored.
type Health struct {
	Checked time.Time // when all was compared last; zero: not yet
	Sound   time.Time // when all was as recorded last; zero: not yet
	Trouble error     // why that couldn't be done, or made equal; nil
	Links   Repaired  // links, addresses, neighbours and sysctls
	Rules   Repaired  // the firewall
}

// Repaired counts what others had changed and was made as recorded.
type Repaired struct {
	Count int
	Last  time.Time
	What  string // the last one
}

// Health returns what was found so far.
func (d *Driver) Health() Health {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.health
}

// looked notes that all was compared.
func (d *Driver) looked(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.health.Checked, d.health.Trouble = time.Now(), err
	if err == nil {
		d.health.Sound = d.health.Checked
	}
}

// repaired logs and counts repairs.
func (d *Driver) repaired(links []link.Repair, rules []nat.Repair) {
	d.mu.Lock()
	log := d.log
	if d.whole {
		log = log.WithField(event.Field, event.Repair)
	}
	d.mu.Unlock()
	for _, r := range links {
		log.WithField("object", r.Object).Warn("repaired: " + r.What)
	}
	for _, r := range rules {
		log.WithField("object", "firewall").Warn("repaired: " + r.What)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(links); n > 0 {
		last := links[n-1]
		d.health.Links = Repaired{d.health.Links.Count + n, time.Now(), last.Object + ": " + last.What}
	}
	if n := len(rules); n > 0 {
		d.health.Rules = Repaired{d.health.Rules.Count + n, time.Now(), rules[n-1].What}
	}
}

// restored forgets what was repaired so far: after a reboot all is missing, and
// nobody did harm.
func (d *Driver) restored() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.health.Links, d.health.Rules = Repaired{}, Repaired{}
	d.whole = true
}
