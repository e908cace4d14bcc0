package plugin

import (
	"net/netip"
	"unicode"

	fairwayipam "fairway/ipam"

	"github.com/docker/go-plugins-helpers/ipam"
)

// decodeRequestPool leaves the meaning of the pool's texts to the allocator:
// they are the user's own.
func decodeRequestPool(body []byte) (fairwayipam.PoolSpec, error) {
	req, err := decode[ipam.RequestPoolRequest](body)
	if err != nil {
		return fairwayipam.PoolSpec{}, err
	}
	return fairwayipam.PoolSpec{
		Space: req.AddressSpace, Pool: req.Pool, SubPool: req.SubPool,
		Options: req.Options, V6: req.V6,
	}, nil
}

func decodeReleasePool(body []byte) (pool string, err error) {
	req, err := decode[ipam.ReleasePoolRequest](body)
	if err != nil {
		return "", err
	}
	return req.PoolID, checkPool(req.PoolID)
}

func decodeRequestAddress(body []byte) (fairwayipam.AddressSpec, error) {
	req, err := decode[ipam.RequestAddressRequest](body)
	if err != nil {
		return fairwayipam.AddressSpec{}, err
	}
	if err := checkPool(req.PoolID); err != nil {
		return fairwayipam.AddressSpec{}, err
	}
	a := fairwayipam.AddressSpec{
		Pool:    req.PoolID,
		Gateway: req.Options[keyAddressType] == typeGateway,
		Name:    containerName(req.Options[keyName]),
	}
	if a.Address, err = parseAddr("Address", req.Address, anyFamily); err != nil {
		return fairwayipam.AddressSpec{}, err
	}
	if a.MAC, err = parseMAC("option "+keyMAC, req.Options[keyMAC]); err != nil {
		return fairwayipam.AddressSpec{}, err
	}
	return a, nil
}

// containerName returns "" for a name that no engine gives: a name only helps
// to give the same address again, so it is no reason to refuse one.
func containerName(name string) string {
	if len(name) > maxName {
		return ""
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return ""
		}
	}
	return name
}

func decodeReleaseAddress(body []byte) (pool string, ip netip.Addr, err error) {
	req, err := decode[ipam.ReleaseAddressRequest](body)
	if err != nil {
		return "", netip.Addr{}, err
	}
	if err := checkPool(req.PoolID); err != nil {
		return "", netip.Addr{}, err
	}
	ip, err = parseAddr("Address", req.Address, anyFamily)
	if err == nil && !ip.IsValid() {
		err = errNoAddress
	}
	return req.PoolID, ip, err
}
