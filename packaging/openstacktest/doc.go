// Package openstacktest holds what trustpool says to OpenStack against the real parts: Placement, Keystone and Nova as Debian packages them, on SQLite and loopback, started and stopped by the
// tests. Nothing of OpenStack is imitated.
//
// The tests have the build tag "openstack", because they need those packages: make openstack-test.
//
// # What it does not show
//
// There are no hypervisors, no message queue and no second cell here, and one release only, that of the Debian it runs on. SQLite takes one writer at a time, which a production database does not.
//
// Of Nova (nova_cloud.py), API, conductor, scheduler and nova-computes are the real ones, in one process, and its client of Placement is. Nova's own test fixtures stand for the message queue, for Glance,
// Neutron and Cinder, and for the hypervisor below each nova-compute (virt.fake). No Keystone says who calls it.
package openstacktest
