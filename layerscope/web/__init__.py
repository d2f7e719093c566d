"""The JavaScript and CSS of the Layers tab and of the HTML report, each module once."""
