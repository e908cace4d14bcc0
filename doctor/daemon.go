package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fairway/admin"
)

const startDaemon = "systemctl start fairway"

// daemonChecks are of the daemon, and of how Docker finds it.
func daemonChecks() []Check {
	return []Check{
		{
			Code: "FW006", Name: "daemon", Title: "the daemon doesn't answer", Severity: Bad,
			Cause:  "It isn't running, or hangs: `journalctl -u fairway -e` says why it ended.",
			Loss:   "Docker can make, start and stop nothing on fairway networks. What runs goes on, but for PROXIED ports.",
			Remedy: "Start it. It keeps what runs, and makes up for what happened meanwhile.",
			look:   lookDaemon,
		},
		{
			Code: "FW007", Name: "repair", Title: "the daemon can't make the kernel as recorded", Severity: Bad,
			Cause:  "What it tries is refused: a link of somebody else's has the place of a bridge, a parent or a kernel module is missing, a program of iptables fails. The finding has the kernel's word.",
			Loss:   "What the finding names doesn't work; all else does.",
			Remedy: "Remove what is in the way; then `fairway repair`, or wait 30 s.",
			look:   lookTrouble,
		},
		{
			Code: "FW008", Name: "version", Title: "the daemon is of another version than the program", Severity: Warning,
			Cause:  "fairway was upgraded and the daemon not restarted.",
			Loss:   "Fixes of the new version don't count yet, and its commands may ask what the daemon doesn't know.",
			Remedy: "Restart the daemon: connections go on, but for PROXIED ones.",
			look:   lookVersion,
		},
		{
			Code: "FW011", Name: "socket", Title: "nobody listens on the socket that Docker calls", Severity: Bad,
			Cause:  "A daemon was killed and left its socket, and none was started since.",
			Loss:   "Docker waits up to 30 s in each call to a fairway network, and may start containers late at boot.",
			Remedy: "Start the daemon, which takes the socket's place. If it isn't to run any more, the command removes the socket.",
			look:   lookSocket,
		},
		{
			Code: "FW012", Name: "spec file", Title: "a plugin file leads Docker elsewhere", Severity: Warning,
			Cause:  "A file fairway.spec or fairway.json is left from an earlier installation. Docker looks for the socket in /run/docker/plugins first, and takes such a file while that isn't there.",
			Loss:   "At boot Docker may talk to nobody, or to another daemon, and remembers that until it restarts.",
			Remedy: "The command renames the file. Then `systemctl restart docker` if Docker already calls the wrong one.",
			look:   lookSpecs,
		},
		{
			Code: "FW013", Name: "open files", Title: "the daemon has nearly as many files open as it may", Severity: Warning,
			Cause:  "Each published port, and each PROXIED connection, is an open file of the daemon; its limit (LimitNOFILE=) is small.",
			Loss:   "Ports can't be published when it is reached.",
			Remedy: "The command raises the limit of the running daemon. For good: `LimitNOFILE=1048576` in fairway.service, as it is shipped.",
			look:   lookFiles,
		},
	}
}

func lookDaemon(_ context.Context, p *Patient) ([]Finding, error) {
	switch {
	case p.Daemon != nil:
		return nil, nil
	case errors.Is(p.DaemonErr, admin.ErrPermission):
		return nil, p.DaemonErr
	}
	return []Finding{auto(startDaemon, "%s", p.DaemonErr)}, nil
}

func lookTrouble(_ context.Context, p *Patient) ([]Finding, error) {
	if p.Daemon == nil {
		return nil, skip("the daemon doesn't answer")
	}
	if p.Daemon.Trouble == "" {
		return nil, nil
	}
	return []Finding{by(nil, "%s", p.Daemon.Trouble)}, nil
}

func lookVersion(_ context.Context, p *Patient) ([]Finding, error) {
	if p.Daemon == nil {
		return nil, skip("the daemon doesn't answer")
	}
	d := p.Daemon.Daemon
	if d.Version == p.Build.Version && d.Revision == p.Build.Revision {
		return nil, nil
	}
	return []Finding{auto("systemctl restart fairway", "the daemon is %s (%s), the program %s (%s)", d.Version, short(d.Revision), p.Build.Version, short(p.Build.Revision))}, nil
}

func lookSocket(_ context.Context, p *Patient) ([]Finding, error) {
	if p.Daemon != nil {
		return nil, nil
	}
	c, err := net.DialTimeout("unix", p.Settings.Socket, 2*time.Second)
	if err == nil {
		_ = c.Close()
		return nil, nil
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return nil, nil // there is none, or it isn't ours to see
	}
	return []Finding{auto("rm -f "+quote(p.Settings.Socket), "%s: connection refused", p.Settings.Socket)}, nil
}

func lookSpecs(context.Context, *Patient) (out []Finding, err error) {
	for _, dir := range []string{"/etc/docker/plugins", "/usr/lib/docker/plugins"} {
		for _, name := range []string{"fairway.spec", "fairway.json"} {
			file := dir + "/" + name
			if _, err := os.Lstat(file); err == nil {
				out = append(out, auto(fmt.Sprintf("mv %s %[1]s.disabled", quote(file)), "%s is there", file))
			}
		}
	}
	return out, nil
}

func lookFiles(_ context.Context, p *Patient) ([]Finding, error) {
	if p.Daemon == nil {
		return nil, skip("the daemon doesn't answer")
	}
	proc := "/proc/" + strconv.Itoa(p.Daemon.PID)
	limit, hard, err := openFilesLimit(proc + "/limits")
	if err != nil {
		return nil, skip("%s", err)
	}
	open, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return nil, skip("%s", err)
	}
	if len(open)*10 < limit*8 {
		return nil, nil
	}
	to := "1048576:1048576"
	if hard > limit {
		to = strconv.Itoa(hard) + ":"
	}
	return []Finding{auto(fmt.Sprintf("prlimit --pid %d --nofile=%s", p.Daemon.PID, to),
		"%d of %d files are open", len(open), limit)}, nil
}

// openFilesLimit reads the soft and the hard limit of a process:
// proc_pid_limits(5).
func openFilesLimit(path string) (soft, hard int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		rest, ok := strings.CutPrefix(s.Text(), "Max open files")
		words := strings.Fields(rest)
		if !ok || len(words) < 2 {
			continue
		}
		limits := [2]int{1 << 30, 1 << 30}
		for i := range limits {
			if n, err := strconv.Atoi(words[i]); err == nil { // else it is unlimited
				limits[i] = n
			}
		}
		return limits[0], limits[1], nil
	}
	return 0, 0, fmt.Errorf("%s: no limit of open files", path)
}
