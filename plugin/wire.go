package plugin

import (
	"encoding/json"

	"github.com/docker/go-plugins-helpers/network"
)

// The keys of the option maps that Docker sends. See netlabel in moby's
// libnetwork.
const (
	keyGeneric      = "com.docker.network.generic"     // -o key=value
	keyEnableIPv4   = "com.docker.network.enable_ipv4" // Docker 28 and later
	keyEnableIPv6   = "com.docker.network.enable_ipv6"
	keyInternal     = "com.docker.network.internal"
	keyPortMap      = "com.docker.network.portmap"
	keyExposedPorts = "com.docker.network.endpoint.exposedports"
	keyMAC          = "com.docker.network.endpoint.macaddress"          // base64 to the network driver, text to IPAM
	keyDNSServers   = "com.docker.network.endpoint.dnsservers"          // Windows only
	keyNoProxy6To4  = "com.docker.network.driver.private.no_proxy_6to4" // another endpoint is the IPv6 gateway
	keyName         = "com.docker.network.endpoint.name"                // to IPAM, Docker 29 and later
	keyAddressType  = "RequestAddressType"
	typeGateway     = "com.docker.network.gateway"
)

// options is an option map as it came: what each value must be depends on its key.
type options map[string]json.RawMessage

// Requests and replies that docker/go-plugins-helpers has not, or has without
// the newer fields. See moby's libnetwork/drivers/remote/api and
// libnetwork/ipams/remote/api.
type (
	activateReply struct {
		Implements []string
	}

	networkCapabilities struct {
		network.CapabilitiesResponse
		GwAllocChecker bool
	}

	addressCapabilities struct {
		RequiresMACAddress    bool
		RequiresRequestReplay bool
	}

	gatewayCheckRequest struct {
		Options options
	}

	gatewayCheckReply struct {
		SkipIPv4 bool
		SkipIPv6 bool
	}

	createNetworkRequest struct {
		NetworkID string
		Options   options
		IPv4Data  []ipamData
		IPv6Data  []ipamData
	}

	// ipamData is one pool of a network. Addresses are text with or without a
	// prefix length.
	ipamData struct {
		AddressSpace string
		Pool         string
		Gateway      string
		AuxAddresses map[string]string
	}

	createEndpointRequest struct {
		NetworkID  string
		EndpointID string
		Interface  network.EndpointInterface
		Options    options
	}

	infoReply struct {
		Value map[string]any
	}

	joinRequest struct {
		NetworkID  string
		EndpointID string
		SandboxKey string
		Options    options
	}

	joinReply struct {
		InterfaceName         *interfaceName         `json:",omitempty"`
		Gateway               string                 `json:",omitempty"`
		GatewayIPv6           string                 `json:",omitempty"`
		StaticRoutes          []*network.StaticRoute `json:",omitempty"`
		DisableGatewayService bool                   `json:",omitempty"`
	}

	interfaceName struct {
		SrcName   string
		DstPrefix string
		DstName   string `json:",omitempty"`
	}

	publishRequest struct {
		NetworkID  string
		EndpointID string
		Options    options
	}

	// portBinding is an entry of keyPortMap.
	portBinding struct {
		Proto       uint8 // IP protocol number
		IP          string
		Port        uint16
		HostIP      string
		HostPort    uint16
		HostPortEnd uint16
	}

	// transportPort is an entry of keyExposedPorts.
	transportPort struct {
		Proto uint8
		Port  uint16
	}
)

// The kinds of network.StaticRoute.
const (
	routeNextHop   = 0
	routeConnected = 1
)
