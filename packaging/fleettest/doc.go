// Package fleettest holds the whole of it, trustpool-sim's nodes and trustpool-server, through reboots, other hypervisors, cut networks and killed servers, and looks all the time whether what the server says of
// each node is true. make fleet-test builds the programs and runs it (tag fleet); docs/reliability.md tells what came of it.
package fleettest
