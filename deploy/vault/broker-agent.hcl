# Vault Agent beside the broker: logs in with its AppRole, and keeps a token in a file.
vault {
  address = "http://vault:8200"
}

auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = "/approle/broker/role_id"
      secret_id_file_path                 = "/approle/broker/secret_id"
      remove_secret_id_file_after_reading = false
    }
  }

  sink "file" {
    config = {
      path = "/approle/broker/token"
      mode = 0600
    }
  }
}
