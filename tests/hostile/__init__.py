"""Attacks: hostile strings, bombs, secrets, rights and arbitrary bytes, each with a control that the attack would show.

What is counted (inputs tried, commands run, strings) goes as JSON lines into the file that the environment variable
``PEERSTORE_FAULTS_REPORT`` names.
"""
