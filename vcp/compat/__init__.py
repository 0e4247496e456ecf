"""The compatibility suite: cases as language-neutral files, this implementation's answers to them, and the judge.

`README.md` beside this file tells how a port in another language runs it; `python -m vcp.compat` runs it for this one.
"""
