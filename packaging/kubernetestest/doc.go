// Package kubernetestest holds the publisher's Kubernetes sink against a real kube-apiserver and kube-scheduler, with the manifests and the recipes that operators are given.
//
// The test itself has the build tag "kubernetes", because Kubernetes is built for it from its sources, which takes a quarter of an hour the first time: make kubernetes-test. The module in the folder cluster
// says which version, and by its go.sum which bytes.
//
// The rules that a sink has to keep (TestSink...) are also run without that tag, against a stand-in of a few requests. Both run the same tests: where the stand-in differs from Kubernetes, one of the two fails.
//
// # What it does not show
//
// There is no kubelet and no controller-manager: pods are bound to nodes, but none runs, and nobody evicts them when a taint NoExecute comes.
package kubernetestest
