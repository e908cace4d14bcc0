package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// DialOptions say how etcd is reached.
type DialOptions struct {
	Endpoints []string // URLs: https://etcd1:2379
	// CA, Cert and Key are files in PEM form: whom to believe ("": whom the system
	// does), and who this host is ("": nobody).
	CA, Cert, Key  string
	User, Password string // of etcd's own authentication; "" for none
	// Clear allows http:// off the loopback, where all can read and change
	// what is said.
	Clear bool
}

// ParseEndpoints checks the URLs of an etcd, separated by commas.
func ParseEndpoints(list string, clear bool) (out []string, err error) {
	for _, s := range strings.Split(list, ",") {
		s = strings.TrimSpace(s)
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.Port() == "" || u.Path != "" && u.Path != "/" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("%q: want URLs such as https://etcd1:2379, separated by commas", s)
		}
		switch u.Scheme {
		case "https":
		case "http":
			if !clear && !loopback(u.Hostname()) {
				return nil, fmt.Errorf("%q: want https: over http anybody on the way can read and change what hosts agree on", s)
			}
		default:
			return nil, fmt.Errorf("%q: want https, or http to this host", s)
		}
		out = append(out, u.Scheme+"://"+u.Host)
		if first, _, _ := strings.Cut(out[0], ":"); first != u.Scheme {
			return nil, fmt.Errorf("%q: want %s for all or for none", s, first)
		}
	}
	return out, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Dial returns a client of etcd. It doesn't wait for it: an etcd that isn't there
// is looked for until it is. The files are read now.
func Dial(o DialOptions) (*clientv3.Client, error) {
	endpoints, err := ParseEndpoints(strings.Join(o.Endpoints, ","), o.Clear)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	config := clientv3.Config{
		Endpoints: endpoints, Username: o.User, Password: o.Password,
		DialTimeout: 5 * time.Second,
		// A server that is gone without a word is noticed within 15 s.
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
		Logger: zap.NewNop(), // what matters is in the errors
		// One that is back is noticed soon: by default that takes two minutes.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second}, MinConnectTimeout: 3 * time.Second,
		})},
	}
	if strings.HasPrefix(endpoints[0], "https:") {
		if config.TLS, err = o.tls(); err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
	}
	c, err := clientv3.New(config)
	if err != nil {
		return nil, fmt.Errorf("cluster: etcd %s: %w", strings.Join(endpoints, ","), err)
	}
	return c, nil
}

func (o DialOptions) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", o.CA)
		}
	}
	if o.Cert == "" && o.Key == "" {
		return c, nil
	}
	// Read anew for each connection, so that a renewed one counts without a restart.
	if _, err := tls.LoadX509KeyPair(o.Cert, o.Key); err != nil {
		return nil, fmt.Errorf("certificate %s, key %s: %w", o.Cert, o.Key, err)
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		return &pair, err
	}
	return c, nil
}
