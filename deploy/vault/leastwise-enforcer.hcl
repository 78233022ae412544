path "auth/token/accessors" { capabilities = ["list", "sudo"] }
