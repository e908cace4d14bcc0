// Package firewalld keeps fairway's bridges in a zone of firewalld(1)'s of
// their own, by D-Bus (firewalld.dbus(5)). firewalld filters in tables of its
// own and rejects at their end what is forwarded between zones, so that no
// accept of ours helps: it must be told.
//
// The permanent configuration gets, once, the zone fairway and two policies that
// let pass what is forwarded between that zone and any other; our own rules
// decide what of it does. The zone itself opens nothing on the host for
// containers: that is for the administrator to do, as for each other zone.
//
//	fairway-in   ANY → fairway   ACCEPT
//	fairway-out  fairway → ANY   ACCEPT
//
// Bridges are in the zone at run time only. firewalld keeps that over a reload,
// but not over a restart; both are noticed. Bridges that fairway has not made
// itself, and those that lead to the outside, stay in the zone they are in.
package firewalld
