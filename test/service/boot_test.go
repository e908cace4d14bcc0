//go:build release

package service

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// boots is how many containers start with the machine.
const boots = 50

// TestBoot: containers that start at boot, on fairway's networks, are all there
// again after a power cut and after a shutdown, with their names and ports, and the
// doctor finds nothing.
func TestBoot(t *testing.T) {
	t.Parallel()
	m := boot(t, programs(t, "1"))
	m.docker()
	m.sh("/files/fairway1 install && fairway status --check ready --wait 20s && systemctl add-wants multi-user.target docker.service")
	m.sh(`for n in 1 2 3 4 5; do docker network create -d fairway --ipam-driver fairway net$n; done`)
	m.sh(fmt.Sprintf(`for i in $(seq %d); do
		docker run -d --restart always --stop-signal KILL --name c$i --hostname c$i --network net$((i %% 5 + 1)) -p $((8000+i)):80 \
			box sh -c 'hostname >/index.html; exec httpd -f -p 80 -h /' >/dev/null || exit 1
	done`, boots))
	for _, end := range []struct {
		how string
		do  func()
	}{{"a power cut", m.off}, {"a shutdown", m.shutdown}} {
		end.do()
		m.on()
		m.await("all containers run after "+end.how, m.allRun)
		m.sh("fairway status --check ready --wait 20s")
		m.await("their names are known, and no other's, after "+end.how, func() error {
			names := strings.Fields(m.sh("fairway endpoints --format '{{.Container}}' | sort -u"))
			if n := m.sh("fairway endpoints -q | wc -l"); n != strconv.Itoa(boots) || len(names) != boots {
				return fmt.Errorf("%s endpoints, of %v", n, names)
			}
			return nil
		})
		if out, err := m.try("fairway doctor"); err != nil {
			t.Errorf("after %s: %v\n%s", end.how, err, out)
		}
		m.confined(end.how)
		if out := m.sh("journalctl -q --no-pager -o cat -p err -u fairway; journalctl -q --no-pager -o cat -u docker | grep -i 'failed to start container' || :"); out != "" {
			t.Errorf("after %s:\n%s", end.how, out)
		}
	}
}

// confined wants the doctor that the daemon calls for those who read metrics, in
// the confinement of the unit, to find nothing either.
func (m *machine) confined(when string) {
	m.t.Helper()
	found := ""
	m.await("the daemon's own doctor has looked after "+when, func() error {
		found = m.sh("curl -s --unix-socket /run/fairway/admin.sock http://fairway/metrics | grep ^fairway_doctor_ || :")
		if !strings.Contains(found, "fairway_doctor_last_look") {
			return errors.New("it hasn't")
		}
		return nil
	})
	if strings.Contains(found, "fairway_doctor_finding") {
		m.t.Errorf("after %s the daemon's own doctor finds:\n%s", when, found)
	}
}

// allRun asks each container by its published port for its name.
func (m *machine) allRun() error {
	m.t.Helper()
	out, err := m.try(fmt.Sprintf(`for i in $(seq %d); do
		name=$(curl -s --max-time 2 http://127.0.0.1:$((8000+i))/index.html) || name=nobody
		[ "$name" = c$i ] || { echo "c$i: $name answers"; exit 1; }
	done`, boots))
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
