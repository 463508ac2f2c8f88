"""The made-up catalogue that the quickstart and the tests train on."""
