package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"fairway/store"
)

// storeChecks are of the records, and of the kernel that isn't as they say.
func storeChecks() []Check {
	return []Check{
		{
			Code: "FW001", Name: "store", Title: "the records can't be read", Severity: Bad,
			Cause:  "The file `fairway.db` in the state directory is damaged (a disk failed, or something else wrote to it), is of a newer fairway, or is gone while backups are there.",
			Loss:   "The daemon doesn't start, and changes nothing: networks that run go on, Docker can make and remove none.",
			Remedy: "The command puts the newest good backup in its place and keeps the file beside it. What was made since that backup is unknown then: remove and make those networks and containers again. Of a newer fairway: install that one again.",
			look:   lookStore,
		},
		{
			Code: "FW002", Name: "links", Title: "links, addresses, neighbours or sysctls aren't as recorded", Severity: Bad,
			Cause:  "Something on the host removed or changed what fairway made, and no daemon runs that would repair it, or it can't: `fairway status` says why.",
			Loss:   "Containers of the named networks don't reach each other, the host or the outside; or, where a guard is missing, are not kept to their own addresses.",
			Remedy: "The daemon makes everything as recorded when it starts, and within 30 s when it runs; `fairway repair` has it do so now.",
			look: different("link", func(d Differences) []string {
				return d.Links
			}),
		},
		{
			Code: "FW003", Name: "rules", Title: "rules of the firewall aren't as recorded", Severity: Bad,
			Cause:  "Somebody flushed or changed rules (`nft flush ruleset`, `iptables -F`, another firewall's start), and no daemon runs that would repair them.",
			Loss:   "Published ports and the way to the outside, as far as the loss reaches. Nothing is open meanwhile: docs/firewall.md says what holds without rules.",
			Remedy: "The daemon puts the rules back when it starts, and at once when it runs; `fairway repair` has it do so now.",
			look:   different("rule", func(d Differences) []string { return d.Rules }),
		},
		{
			Code: "FW004", Name: "routing", Title: "policy-routing rules, or routes, aren't as recorded", Severity: Bad,
			Cause:  "Somebody removed the rules 4000 to 4002 or routes of the tables 4000 and 4001. systemd-networkd does so when it restarts (FW073).",
			Loss:   "What keeps others out of the networks where no rule of the firewall does; answers to ports with `publish=host-firewall`.",
			Remedy: "The daemon puts them back when it starts, and at once when it runs; `fairway repair` has it do so now.",
			look:   different("route or rule", func(d Differences) []string { return d.Routing }),
		},
		{
			Code: "FW005", Name: "antispoof", Title: "what containers may send isn't limited as recorded", Severity: Warning,
			Cause:  "The table `bridge fairway` was flushed or changed, and no daemon runs that would repair it; or the kernel has no nftables for bridges.",
			Loss:   "A container can send from its neighbours' addresses, and play router or DHCP server for them.",
			Remedy: "The daemon puts the table back when it starts, and at once when it runs; `fairway repair` has it do so now. A kernel without nftables for bridges (CONFIG_NF_TABLES_BRIDGE) must be replaced.",
			look:   different("guard", func(d Differences) []string { return d.Guard }),
		},
		{
			Code: "FW009", Name: "permissions", Title: "others can read or change the state directory", Severity: Warning,
			Cause:  "The state directory has another owner than root, or rights for others: it was restored or copied without its mode.",
			Loss:   "Other users can read which containers there are, or change what the daemon believes.",
			Remedy: "The command gives it back to root alone.",
			look:   lookPermissions,
		},
		{
			Code: "FW010", Name: "disk", Title: "the disk of the records is full, or nearly", Severity: Bad,
			Cause:  "Less than 32 MiB, or no inode, is free on the disk of the state directory.",
			Loss:   "With a full disk Docker's calls that must record something fail: no container starts on a fairway network.",
			Remedy: "Free some: `docker system prune`, `journalctl --vacuum-size=200M`, or what `du` names.",
			look:   lookDisk,
		},
	}
}

func lookStore(_ context.Context, p *Patient) ([]Finding, error) {
	file, backup := store.File(p.Settings.StateDir), store.NewestBackup(p.Settings.StateDir)
	restore := func(text string) []Finding {
		if backup == "" || p.Daemon != nil {
			return []Finding{by(nil, "%s", text)}
		}
		fix := fmt.Sprintf("cp -p %s %s", quote(backup), quote(file))
		if _, err := os.Lstat(file); err == nil {
			fix = fmt.Sprintf("mv %s %s && ", quote(file), quote(file+".damaged")) + fix
		}
		return []Finding{auto(fix, "%s", text)}
	}
	switch {
	case p.StoreErr == nil && p.WantErr != nil:
		return []Finding{by(nil, "a record isn't one that this fairway can serve: %s", p.WantErr)}, nil
	case p.StoreErr == nil:
		return nil, nil
	case errors.Is(p.StoreErr, store.ErrNewer):
		return []Finding{by(nil, "%s", p.StoreErr)}, nil
	case errors.Is(p.StoreErr, os.ErrNotExist) && backup == "":
		return nil, skip("%s isn't there: no daemon has run yet", file)
	case errors.Is(p.StoreErr, os.ErrPermission):
		return nil, p.StoreErr
	}
	return restore(p.StoreErr.Error()), nil
}

// different is a check for one kind of differences.
func different(what string, of func(Differences) []string) func(context.Context, *Patient) ([]Finding, error) {
	return func(ctx context.Context, p *Patient) ([]Finding, error) {
		d, err := p.differences(ctx)
		if err != nil {
			return nil, err
		}
		all := of(d)
		if len(all) == 0 {
			return nil, nil
		}
		shown := all
		if len(shown) > 3 {
			shown = append(shown[:3:3], fmt.Sprintf("and %d more", len(all)-3))
		}
		return []Finding{auto(p.repair(), "%d %s not as recorded: %s", len(all), plural(what, len(all)), strings.Join(shown, "; "))}, nil
	}
}

// repair is the command that has the kernel made as recorded.
func (p *Patient) repair() string {
	if p.Daemon == nil {
		return startDaemon
	}
	return "fairway repair"
}

func plural(word string, n int) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func lookPermissions(_ context.Context, p *Patient) ([]Finding, error) {
	dir := p.Settings.StateDir
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return nil, skip("%s: %s", dir, err)
	}
	if st.Uid == 0 && st.Mode&0o077 == 0 {
		return nil, nil
	}
	return []Finding{auto(fmt.Sprintf("chown root:root %s && chmod 700 %[1]s", quote(dir)),
		"%s has mode %04o and owner %d", dir, st.Mode&0o7777, st.Uid)}, nil
}

// leastFree is how much of the disk must be free, in bytes: a store grows by
// 1 MiB, and its hourly backups are as large as it is.
const leastFree = 32 << 20

func lookDisk(_ context.Context, p *Patient) ([]Finding, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(p.Settings.StateDir, &fs); err != nil {
		return nil, skip("%s: %s", p.Settings.StateDir, err)
	}
	free := fs.Bavail * uint64(fs.Bsize)
	if free >= leastFree && (fs.Files == 0 || fs.Ffree > 0) {
		return nil, nil
	}
	return []Finding{by(nil, "%s: %d MiB and %d inodes are free on its disk", p.Settings.StateDir, free>>20, fs.Ffree)}, nil
}
