//go:build release

package service

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// programs returns a directory with the program of each version, as fairwayVERSION,
// and the end-to-end tests' probe.
func programs(t *testing.T, versions ...string) string {
	t.Helper()
	dir := t.TempDir()
	build(t, "-o", filepath.Join(dir, "probe"), "../e2e/probe")
	for _, v := range versions {
		build(t, "-ldflags", "-X main.version="+v, "-o", filepath.Join(dir, "fairway"+v), "../../cmd/fairway")
	}
	return dir
}

func build(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-buildvcs=false"}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // it runs where no libraries are
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %v: %v\n%s", args, err, out)
	}
}

// docker starts the machine's engine and gives it an image, box.
func (m *machine) docker() {
	m.t.Helper()
	m.sh("systemctl start docker")
	m.sh(`mkdir -p /tmp/box/bin
		for a in $(busybox --list); do ln -s busybox /tmp/box/bin/$a; done
		cp --remove-destination /bin/busybox /files/probe /tmp/box/bin/
		tar -c -C /tmp/box . | docker import --change 'ENV PATH=/bin' --change 'CMD ["sleep", "100000"]' - box`)
}

// run starts a container that answers on port 9000, on the network web.
func (m *machine) run(name string, options ...string) {
	m.t.Helper()
	m.sh("docker run -d --name " + name + " --network web " + strings.Join(options, " ") + " box probe serve udp:9000 tcp:9000")
}

// pair makes a network with two containers, left and right, which has port 9000
// of the machine, and a neighbour on a LAN, 192.0.2.2.
func (m *machine) pair() {
	m.t.Helper()
	m.sh("docker network create -d fairway --ipam-driver fairway web")
	m.run("left")
	m.run("right", "-p 9000:9000/udp", "-p 9000:9000/tcp")
	m.sh(`ip netns add lan && ip link add eth0 type veth peer name eth0 netns lan
		ip address add 192.0.2.1/24 dev eth0 && ip link set eth0 up
		ip -n lan address add 192.0.2.2/24 dev eth0 && ip -n lan link set eth0 up && ip -n lan link set lo up`)
	m.await("the neighbour is answered", func() error {
		if out, err := m.try(askRight); err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
		return nil
	})
}

const (
	pingAB   = "docker exec left ping -c 1 -w 5 right"
	askRight = "ip netns exec lan /files/probe ask tcp 192.0.2.1:9000 && ip netns exec lan /files/probe ask udp 192.0.2.1:9000"
)

// during runs f while left sends right 20 packets a second, and the neighbour a
// thousand to the published port. None may be lost: the answers to the first are
// numbered, the others counted by both kernels.
func (m *machine) during(f func()) {
	m.t.Helper()
	m.sends++
	file := fmt.Sprintf("/out%d", m.sends)
	sent, received := m.count("sent"), m.count("received")
	m.sh("docker exec -d left sh -c 'exec ping -i 0.05 right >" + file + "'")
	m.sh("ip netns exec lan /files/probe flood 192.0.2.1:9000 600 >/dev/null 2>&1 & echo $! >/run/flood")
	m.await("the first answers", func() error { return m.answered(file, 20) })
	f()
	m.await("more answers", func() error { return m.answered(file, 20) })
	m.sh("kill $(cat /run/flood); docker exec left killall -INT ping")
	out := m.sh("docker exec left cat " + file)
	answers := regexp.MustCompile(`seq=(\d+) `).FindAllStringSubmatch(out, -1)
	for i, answer := range answers {
		if answer[1] != strconv.Itoa(i) {
			m.t.Errorf("packet %d was lost: the next answer is %s", i, answer[1])
			break
		}
	}
	sent = m.count("sent") - sent
	m.await("what was sent is received", func() error {
		if n := m.count("received") - received; n != sent {
			return fmt.Errorf("%d datagrams of %d", n, sent)
		}
		return nil
	})
	m.t.Logf("%d echo requests and %d datagrams: none was lost", len(answers), sent)
}

// count returns how many datagrams the neighbour has sent, or came to right's
// sockets: /proc/net/snmp.
func (m *machine) count(what string) (n int) {
	m.t.Helper()
	line, fields := "ip netns exec lan cat /proc/net/snmp", []string{"OutDatagrams"}
	if what == "received" {
		line, fields = "docker exec right cat /proc/net/snmp", []string{"InDatagrams", "RcvbufErrors"}
	}
	var names []string
	for text := range strings.Lines(m.sh(line)) {
		values := strings.Fields(text)
		switch {
		case len(values) == 0 || values[0] != "Udp:":
		case names == nil:
			names = values
		default:
			for i, name := range names {
				if slices.Contains(fields, name) {
					v, _ := strconv.Atoi(values[i])
					n += v
				}
			}
		}
	}
	if names == nil {
		m.t.Fatal("no counters of UDP")
	}
	return n
}

// answered reports an error unless more than least answers came, and the last
// of them a moment ago.
func (m *machine) answered(file string, least int) error {
	count := "docker exec left wc -l " + file + " | cut -d' ' -f1"
	was, err := m.try(count)
	if err != nil {
		return err
	}
	time.Sleep(500 * time.Millisecond)
	is, err := m.try(count)
	if n, _ := strconv.Atoi(is); err == nil && (n < least || was == is) {
		err = fmt.Errorf("%s answers, then %s", was, is)
	}
	return err
}
