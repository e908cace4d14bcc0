package model

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// A chance is a kind of line and how often it comes.
type chance struct {
	weight int
	draw   func(t *rapid.T) string
}

// sequences draws lists of lines. A line means something whatever came before
// it, so that any part of a list is a list, and shrinking is taking lines away.
func sequences(longest int) *rapid.Generator[[]line] {
	first := func(slot int) *rapid.Generator[line] {
		return rapid.Custom(func(t *rapid.T) line { return line(fmt.Sprintf("network n%d %s", slot, shapeName(t))) })
	}
	rest := rapid.Custom(drawLine)
	return rapid.Custom(func(t *rapid.T) []line {
		lines := []line{first(0).Draw(t, "first"), first(networkSlots-1).Draw(t, "second")}
		return append(lines, rapid.SliceOfN(rest, 0, longest).Draw(t, "lines")...)
	})
}

func drawLine(t *rapid.T) line {
	if rapid.IntRange(0, 11).Draw(t, "parallel") == 11 {
		n := rapid.IntRange(2, 4).Draw(t, "width")
		var parts []string
		for range n {
			parts = append(parts, pick(t, concurrent()))
		}
		return line(strings.Join(parts, " || ") + mishap(t, 4))
	}
	l := pick(t, chances())
	if strings.HasPrefix(l, "sleep") {
		return line(l)
	}
	return line(l + mishap(t, 3) + lostWords(t))
}

func pick(t *rapid.T, all []chance) string {
	total := 0
	for _, c := range all {
		total += c.weight
	}
	n := rapid.IntRange(0, total-1).Draw(t, "kind")
	for _, c := range all {
		if n -= c.weight; n < 0 {
			return c.draw(t)
		}
	}
	panic("unreachable")
}

// concurrent is what happens at the same time.
func concurrent() []chance {
	return []chance{
		{8, run}, {3, stop("stop")}, {2, stop("kill")}, {2, disconnect}, {2, network}, {2, rmnet},
		{2, repeat}, {1, raw}, {1, tamper}, {1, constant("repair")}, {1, constant("observe")}, {1, constant("sleep 2")},
	}
}

func chances() []chance {
	return []chance{
		{10, run}, {5, network}, {4, stop("stop")}, {2, stop("kill")}, {3, disconnect}, {3, rmnet},
		{3, repeat}, {4, raw}, {1, constant("repair")}, {1, constant("observe")}, {1, constant("collect")},
		{3, live}, {1, rm}, {3, tamper}, {2, constant("crash")}, {1, constant("reboot")}, {1, dockerDies}, {1, sleep},
	}
}

func constant(s string) func(*rapid.T) string { return func(*rapid.T) string { return s } }

func network(t *rapid.T) string {
	return fmt.Sprintf("network n%d %s", rapid.IntRange(0, networkSlots-1).Draw(t, "network"), shapeName(t))
}

func shapeName(t *rapid.T) string {
	names := shapeNames()
	return names[rapid.IntRange(0, len(names)-1).Draw(t, "shape")]
}

// pair draws a container and a network of one engine.
func pair(t *rapid.T) string {
	n := rapid.IntRange(0, networkSlots-1).Draw(t, "network")
	if n == networkSlots-1 {
		return fmt.Sprintf("c%d n%d", rapid.IntRange(containerSlots-2, containerSlots-1).Draw(t, "container"), n)
	}
	return fmt.Sprintf("c%d n%d", rapid.IntRange(0, containerSlots-3).Draw(t, "container"), n)
}

func ports(t *rapid.T) string {
	all := []string{"", "", " tcp/8080", " udp/8080", " tcp/0", " tcp/8080 tcp/0", " tcp/8081 udp/8080", fmt.Sprint(" tcp/", foreignPort)}
	return all[rapid.IntRange(0, len(all)-1).Draw(t, "ports")]
}

func run(t *rapid.T) string {
	l := "run " + pair(t) + ports(t)
	if rapid.IntRange(0, 3).Draw(t, "static") == 3 {
		l += fmt.Sprint(" ip=", rapid.IntRange(1, 7).Draw(t, "host"))
	}
	return l
}

func live(t *rapid.T) string {
	verb := []string{"add", "add", "remove"}[rapid.IntRange(0, 2).Draw(t, "verb")]
	ports := []string{" tcp/9090", " tcp/9091", " tcp/9090 tcp/9091", " tcp/8080"}
	if verb == "remove" {
		ports = ports[:3]
	}
	return verb + " " + pair(t) + ports[rapid.IntRange(0, len(ports)-1).Draw(t, "ports")]
}

func rm(t *rapid.T) string {
	return fmt.Sprintf("rm c%d", rapid.IntRange(0, containerSlots-1).Draw(t, "container"))
}

func stop(verb string) func(*rapid.T) string {
	return func(t *rapid.T) string {
		return fmt.Sprintf("%s c%d", verb, rapid.IntRange(0, containerSlots-1).Draw(t, "container"))
	}
}

func disconnect(t *rapid.T) string { return "disconnect " + pair(t) }

func rmnet(t *rapid.T) string {
	return fmt.Sprintf("rmnet n%d", rapid.IntRange(0, networkSlots-1).Draw(t, "network"))
}

func repeat(t *rapid.T) string { return fmt.Sprint("repeat ", rapid.IntRange(0, 30).Draw(t, "back")) }

func raw(t *rapid.T) string {
	all := []string{"leave", "join", "elsewhere", "delete", "create", "publish", "revoke", "rmnet", "wrongnet", "steal"}
	verb := all[rapid.IntRange(0, len(all)-1).Draw(t, "call")]
	l := "raw " + verb + " " + pair(t)
	if verb == "publish" {
		l += ports(t)
	}
	return l
}

func tamper(t *rapid.T) string {
	all := []string{"flush", "orphan", "bridge", "down", "localnet", "port", "master", "mtu", "neighbours"}
	return "tamper " + all[rapid.IntRange(0, len(all)-1).Draw(t, "what")] + " " + pair(t)
}

func dockerDies(t *rapid.T) string {
	return "dockerdies " + engines[rapid.IntRange(0, len(engines)-1).Draw(t, "engine")]
}

func sleep(t *rapid.T) string {
	return fmt.Sprint("sleep ", []int{1, 29, 45, 100, 400}[rapid.IntRange(0, 4).Draw(t, "seconds")])
}

// mishap draws a fault of the machine, in one line of so many.
func mishap(t *rapid.T, oneOf int) string {
	if rapid.IntRange(1, oneOf).Draw(t, "fault") < oneOf {
		return ""
	}
	kinds := []faultKind{dieBefore, dieAfter, failOnce, failDisk}
	k := kinds[rapid.IntRange(0, len(kinds)-1).Draw(t, "what")]
	out := fmt.Sprintf(" !%s %d", k, rapid.IntRange(1, 16).Draw(t, "step"))
	if (k == dieBefore || k == dieAfter) && rapid.IntRange(0, 2).Draw(t, "twice") == 2 {
		out += fmt.Sprint(" !again ", rapid.IntRange(1, 12).Draw(t, "step"))
	}
	return out
}

// lostWords draws what happens to calls.
func lostWords(t *rapid.T) string {
	switch rapid.IntRange(0, 15).Draw(t, "trouble") {
	case 15:
		return fmt.Sprint(" !lose ", rapid.IntRange(1, 8).Draw(t, "call"))
	case 14:
		return fmt.Sprint(" !cut ", rapid.IntRange(1, 8).Draw(t, "call"))
	case 13, 12:
		return " !dup"
	}
	return ""
}
