// Package exceptionfile keeps exceptions as YAML in a repository. A file becomes the same records that the page, the API and
// the command line write, under the same rules: one asks, another approves, a policy bounds how long, and each ends by itself.
//
// An exception's record is named by what the file says of it, so applying a file again changes nothing. A changed entry is
// asked for anew and takes the place of the old one; what somebody ended stays ended until the entry changes. An entry
// that is gone ends its exception only if that is asked for.
//
// Names written in a file prove nothing. They count if git shows them: the signature of the commit that changed the file is
// who asks, that of the merge that brought it in is who approves. Or if the site's configuration trusts the repository, which
// says that nothing gets into it that two people did not look at. Else whoever applies the file asks, and somebody else
// approves.
//
// Load, Names and Plan change nothing; Apply writes record by record, and may be ended and begun again at any point.
package exceptionfile

// Config of exceptions that are kept in repositories.
type Config struct {
	// TrustedRepositories are folders in which names are taken as they are written (default: none).
	TrustedRepositories []string `yaml:"trusted_repositories"`
	// AllowedSigners is a file of SSH keys and whose they are, for --verify-commits (default: git's own configuration).
	AllowedSigners string `yaml:"allowed_signers"`
}
