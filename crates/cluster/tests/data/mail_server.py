"""A mail server of aiosmtpd on loopback: mail_server.py starttls|tls CERTIFICATE MECHANISM USER PASSWORD

It prints its port, and then each message that it takes, as JSON. It takes none without TLS and login.
"""

import asyncio
import json
import socket
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

kind, certificate, mechanism, user, password = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate)


class Handler:
    async def handle_DATA(self, server, session, envelope):
        text = envelope.content.decode()
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "text": text}), flush=True)
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=data == LoginPassword(user.encode(), password.encode()))


def protocol():
    return SMTP(
        Handler(),
        tls_context=context if kind == "starttls" else None,
        require_starttls=kind == "starttls",
        # Over TLS from the first octet the server does not know that there is any.
        auth_require_tls=kind == "starttls",
        auth_required=True,
        authenticator=authenticate,
        auth_exclude_mechanism={"PLAIN", "LOGIN"} - {mechanism},
    )


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.get_running_loop().create_server(
        protocol, sock=listener, ssl=context if kind == "tls" else None
    )
    print(listener.getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
