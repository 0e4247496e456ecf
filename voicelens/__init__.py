"""The project package: settings, URLs and the processes. Apps never import it."""
