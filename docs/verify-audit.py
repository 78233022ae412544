#!/usr/bin/env python3
"""Verify an export of `leastwise audit export`, with the site's public key and nothing of Leastwise.

    python3 verify-audit.py EXPORT.jsonl SITE.pub [EARLIER-CHECKPOINT ...]

Needs Python 3.9 and openssl 3 (for Ed25519). docs/audit.md describes what is checked. Exit code 0: all holds.
"""
import base64, hashlib, json, struct, subprocess, sys, tempfile


def fail(text):
    print("FAILED:", text)
    sys.exit(1)


def public_key(text):
    """NAME+HASH+BASE64 of a signed note's verifier key: one byte of algorithm (1, Ed25519), then the key."""
    name, key_hash, encoded = text.strip().split("+", 2)
    raw = base64.b64decode(encoded)
    if raw[0] != 1 or len(raw) != 33:
        fail("the public key is not Ed25519")
    if hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() != key_hash:
        fail("the public key does not fit its own hash")
    return name, bytes.fromhex(key_hash), raw[1:]


def signed_text(note, key):
    """The text of a signed note, if the key signed it."""
    name, key_hash, raw = key
    text, found, signatures = note.rpartition("\n\n")
    text += "\n"
    for line in signatures.splitlines():
        dash, signer, encoded = line.split(" ")
        signature = base64.b64decode(encoded)
        if dash == "\u2014" and signer == name and signature[:4] == key_hash and ed25519(raw, text.encode(), signature[4:]):
            return text
    fail("no signature of " + name + " fits the checkpoint")


def ed25519(raw, message, signature):
    der = bytes.fromhex("302a300506032b6570032100") + raw  # RFC 8410
    with tempfile.NamedTemporaryFile() as key, tempfile.NamedTemporaryFile() as text, tempfile.NamedTemporaryFile() as sig:
        for file, data in ((key, der), (text, message), (sig, signature)):
            file.write(data)
            file.flush()
        return subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", key.name, "-rawin",
                               "-in", text.name, "-sigfile", sig.name], capture_output=True).returncode == 0


def heads(text):
    lines = text.splitlines()
    if lines[0] != "leastwise audit log":
        fail("the checkpoint is of something else")
    return lines[1], {f[0]: (int(f[1]), int(f[2]), base64.b64decode(f[3])) for f in (line.split(" ") for line in lines[2:])}


def main():
    export, key = sys.argv[1], public_key(open(sys.argv[2]).read())
    ends, count, seen, checkpoint = {}, {}, {}, None
    earlier = [heads(signed_text(open(name, encoding="utf-8").read(), key)) for name in sys.argv[3:]]
    for number, line in enumerate(open(export, encoding="utf-8"), 1):
        row = json.loads(line)
        if checkpoint is not None:
            fail("line %d comes after the checkpoint" % number)
        if "checkpoint" in row:
            checkpoint = row["checkpoint"]
            continue
        name = "%s/%d" % (row["topic"], row["partition"])
        h = hashlib.sha256(ends.get(name, (0, bytes(32)))[1])
        for part in (row["topic"].encode(), struct.pack(">I", row["partition"]), struct.pack(">Q", row["offset"]),
                     base64.b64decode(row["key"] or ""), base64.b64decode(row["value"] or "")):
            h.update(struct.pack(">Q", len(part)) + part)
        if h.digest() != base64.b64decode(row["hash"]):
            fail("line %d: %s offset %d does not follow from the row before" % (number, name, row["offset"]))
        ends[name], count[name] = (row["offset"], h.digest()), count.get(name, 0) + 1
        for at, then in earlier:
            if name in then and then[name] == (row["offset"], count[name], h.digest()):
                seen[(at, name)] = True
    if checkpoint is None:
        fail("the export is cut: it has no checkpoint")
    at, signed = heads(signed_text(checkpoint, key))
    if signed != {name: (offset, count[name], digest) for name, (offset, digest) in ends.items()}:
        fail("the rows are not those that were signed at " + at)
    for then, old in earlier:
        for name in old:
            if (then, name) not in seen:
                fail("%s does not go on from the checkpoint of %s" % (name, then))
    print("%d rows in %d chains, signed by %s at %s: all holds" % (sum(count.values()), len(ends), key[0], at))


main()
