package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An Etcd is the machine's own program, on the neighbour's address in the LAN. It
// takes only clients with a certificate of its authority: see Trust.
type Etcd struct {
	URL string

	lan *LAN
	dir string
	cmd *exec.Cmd
}

// StartEtcd starts an etcd on the LAN. It ends with the test.
func (l *LAN) StartEtcd(t testing.TB) *Etcd {
	t.Helper()
	e := &Etcd{URL: "https://" + Neighbour + ":2379", lan: l, dir: t.TempDir()}
	if err := certify(e.dir, net.ParseIP(Neighbour)); err != nil {
		t.Fatal(err)
	}
	e.Start(t)
	t.Cleanup(e.Kill)
	return e
}

// Start starts it again, with what it had.
func (e *Etcd) Start(t testing.TB) {
	t.Helper()
	e.cmd = exec.Command("nsenter", "--target", strconv.Itoa(e.lan.Neighbour.PID()), "--net", "--", "etcd", "--name", "e",
		"--data-dir", filepath.Join(e.dir, "data"), "--listen-client-urls", e.URL, "--advertise-client-urls", e.URL,
		"--cert-file", filepath.Join(e.dir, "cert.pem"), "--key-file", filepath.Join(e.dir, "key.pem"),
		"--trusted-ca-file", filepath.Join(e.dir, "ca.pem"), "--client-cert-auth", "--log-level", "fatal",
		"--listen-peer-urls", "http://127.0.0.1:2380", "--initial-advertise-peer-urls", "http://127.0.0.1:2380", "--initial-cluster", "e=http://127.0.0.1:2380")
	e.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(settleTime); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		// It says nothing to who has no certificate, but takes the connection.
		if out, _ := e.lan.Neighbour.try("/fw/probe", "ask", "tcp", Neighbour+":2379"); !strings.Contains(out, "refused") {
			return
		}
	}
	t.Fatal("lab: etcd doesn't listen")
}

// Kill ends it without a word.
func (e *Etcd) Kill() {
	if e.cmd == nil {
		return
	}
	_ = e.cmd.Process.Kill() // nsenter has become etcd
	_ = e.cmd.Wait()
	e.cmd = nil
}

// Trust gives a host the certificates that etcd wants, and returns the daemon's
// arguments for them.
func (e *Etcd) Trust(h *Host) ([]string, error) {
	for _, name := range []string{"ca.pem", "cert.pem", "key.pem"} {
		text, err := os.ReadFile(filepath.Join(e.dir, name))
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(context.Background(), commandTime)
		defer cancel()
		cmd := h.command(ctx, "sh", "-c", "mkdir -p /etc/fairway-etcd; cat >/etc/fairway-etcd/"+name)
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return nil, err
		}
		_, _ = in.Write(text)
		in.Close()
		if err := cmd.Wait(); err != nil {
			return nil, fmt.Errorf("lab: give %s to %s: %w", name, h.Name, err)
		}
	}
	return []string{
		"--cluster", e.URL, "--cluster-ca", "/etc/fairway-etcd/ca.pem",
		"--cluster-cert", "/etc/fairway-etcd/cert.pem", "--cluster-key", "/etc/fairway-etcd/key.pem",
	}, nil
}

// certify writes an authority's certificate, and one that it has signed for both
// ends, with its key.
func certify(dir string, ip net.IP) error {
	template := func(serial int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "lab"}, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := template(1)
	ca.IsCA, ca.KeyUsage = true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := template(2)
	leaf.Subject.CommonName = "host"
	leaf.KeyUsage, leaf.IPAddresses = x509.KeyUsageDigitalSignature, []net.IP{ip}
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		"ca.pem":   {Type: "CERTIFICATE", Bytes: caDER},
		"cert.pem": {Type: "CERTIFICATE", Bytes: leafDER},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
