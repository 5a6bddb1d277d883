# An application and tetherd in one group of a Nomad job: they share the group's network.
#   nomad var put nomad/jobs/app auth_key=KEY      # reusable and ephemeral
#   nomad job run app.nomad.hcl
job "app" {
  group "app" {
    network {
      mode = "bridge"
    }

    task "tetherd" {
      driver = "docker"
      user   = "65532:65532"

      # Started before the application and kept beside it.
      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      config {
        image           = "tetherd:0.1.0"
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]
      }

      env {
        TETHERD_HOSTNAME      = "app-${NOMAD_SHORT_ALLOC_ID}"
        TETHERD_AUTH_KEY_FILE = "${NOMAD_SECRETS_DIR}/auth_key"
        TETHERD_DRAIN_TIMEOUT = "20s"
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/app\" }}{{ .auth_key }}{{ end }}"
        destination = "${NOMAD_SECRETS_DIR}/auth_key"
        perms       = "0400"
        uid         = 65532
        gid         = 65532
        change_mode = "noop"
      }

      resources {
        cpu    = 200
        memory = 256
      }

      # drain_timeout, and leaving the tailnet takes up to 6 s.
      kill_timeout = "30s"
    }

    task "app" {
      driver = "docker"

      # At a stop it is told first, and when it ends by itself tetherd ends, too.
      leader = true

      config {
        image   = "busybox:1.37"
        command = "wget"
        args    = ["-q", "-O", "-", "http://web/"]
      }

      # Nomad waits for the start of tetherd, not for the tailnet: connections wait.
      env {
        http_proxy = "http://127.0.0.1:1055"
        no_proxy   = "localhost,127.0.0.1,169.254.169.254"
      }
    }
  }
}
