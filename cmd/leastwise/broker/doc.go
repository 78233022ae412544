// Package broker issues credentials of Vault to agents that ask for what they need, for how long and why. What policy lets
// pass is issued at once and handed out wrapped; what stands past it waits for an exception that somebody else approves.
//
// The broker holds a token of Vault that issues, so it runs by itself and not inside the page. It promises: nothing is
// issued that no offer of the configuration gives the agent, that policy does not admit, or that lives longer than was
// asked; a token whose lifetime or policies are others than asked is revoked before anybody gets it; one request, by its
// key, is fulfilled once. Its journal is on disk before Vault is asked; if it dies between the two, the request is lost and
// the agent asks under a new key. Neither journal nor log nor Kafka ever holds a token or a key.
package broker
