// Package rest is the server's API: /v1 over HTTP, in JSON. Package huma makes the OpenAPI document of the types of server/api.
//
// It answers from what is stored, and never asks a node while a caller waits for a verdict. What it decides is who may do what; everything else is the store's.
//
// # Who may do what
//
// Every route is made by add, which takes the role that it needs. A route that was made otherwise, or without a role, lets nobody through, and New returns an error. The role is looked at before
// anything of the request is read, and before anything is looked up: what a caller may not do, fails the same for names that exist and names that do not. Strangers do not come that far:
// access.Door stands in front of everything, also of paths that do not exist and of the OpenAPI document. The one exception is the set of public keys, which tells nothing of hosts: whoever was
// handed a signed verdict needs it, and need not be a caller.
package rest
