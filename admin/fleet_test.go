package admin

import (
	"strings"
	"testing"
)

// A daemon without a cluster says what is missing.
func TestNoCluster(t *testing.T) {
	c := serve(t, newTestServer(true))
	_, err := c.ClusterNetworks(t.Context())
	_, hosts := c.ClusterHosts(t.Context())
	for _, err := range []error{err, hosts, c.WantNetwork(t.Context(), WantedNetwork{Name: "web"}), c.UnwantNetwork(t.Context(), "web"), c.ForgetHost(t.Context(), "b")} {
		if err == nil || !strings.Contains(err.Error(), "without --cluster") {
			t.Errorf("%v, want what is missing", err)
		}
	}
}
