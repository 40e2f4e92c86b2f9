// Package openstacktest holds what trustpool says to OpenStack against the real parts: Placement, Keystone and Nova as Debian packages them, on SQLite and loopback, started and stopped by the
// tests. Nothing of OpenStack is imitated.
//
// The tests have the build tag "openstack", because they need those packages: make openstack-test.
//
// # What it does not show
//
// There are no hypervisors, no message queue and no second cell here, and one release only, that of the Debian it runs on. SQLite takes one writer at a time, which a production database does not.
package openstacktest
