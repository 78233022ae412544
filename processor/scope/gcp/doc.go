// Package gcp says which permissions GCP roles give, and what level of access a permission is of.
//
// The permissions of the predefined roles (roles.json.gz) are those of github.com/iann0036/iam-dataset, under the
// LICENSE beside it. They are read once, when first needed. Custom roles are told as grants; a grant of a predefined
// role is newer than the list and goes before it. GCP names no access levels: the verb of a permission, its last part,
// stands for one (LevelOf). Nothing here blocks, and everything is safe for concurrent use.
package gcp
