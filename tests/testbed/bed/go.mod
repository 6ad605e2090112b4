module oauthclient.dev/testbed/bed

go 1.26.0
