"""Single sign-on: GitHub and OpenID Connect.

`flow` begins and completes a sign-in, `github` and `oidc` talk to providers, `roles` decides what a user may
do. `http.login` serves the routes.
"""
