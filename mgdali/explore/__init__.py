"""The page that shows how strategies pick frames of videos: its server, and in ``page/`` the page itself."""
