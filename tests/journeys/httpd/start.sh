#!/bin/sh
# Writes the server's settings from the environment, and becomes the server.
set -eu
cat > /run/httpd/httpd.conf <<END
ServerRoot @ROOT@
ServerName localhost
Listen @PORT@
PidFile /run/httpd/pid
DefaultRuntimeDir /run/httpd
ErrorLog /dev/stderr
DocumentRoot /srv/site
DirectoryIndex index.html
TypesConfig conf/mime.types
Header set X-Greeting "$GREETING"
<Directory /srv/site>
  Require all granted
</Directory>
END
exec @ROOT@/bin/httpd -DFOREGROUND -f /run/httpd/httpd.conf
