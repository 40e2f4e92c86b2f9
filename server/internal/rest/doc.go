// Package rest is the server's API: /v1 over HTTP, in JSON. Package huma makes the OpenAPI document of its types.
//
// It answers from what is stored, and never asks a node while a caller waits for a verdict. What it decides is who may do what; everything else is the store's.
package rest
