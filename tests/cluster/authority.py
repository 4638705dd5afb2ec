"""A certificate authority for one control plane (openssl, EC P-256), and the
kubeconfig files that carry its certificates."""

import base64
import ipaddress
import subprocess

# Without it openssl reads the machine's own file, whose extensions get in the way.
OPENSSL_CONF = "[req]\ndistinguished_name = subject\n[subject]\n"


class Authority:
    """Certificates and keys as files in `directory`; `ca` is the root certificate."""

    def __init__(self, directory):
        self._directory = directory
        directory.mkdir()
        (directory / "openssl.cnf").write_text(OPENSSL_CONF)
        self.ca, self._ca_key = self._create(
            "ca", "/CN=fairlead-test-ca",
            "basicConstraints=critical,CA:TRUE", "keyUsage=critical,digitalSignature,keyCertSign")

    def server(self, stem, names):
        """A serving certificate for DNS names and IP addresses. Returns (certificate, key)."""
        return self._signed(stem, "/CN=" + stem, "extendedKeyUsage=serverAuth",
                            "subjectAltName=" + ",".join(map(_alternative_name, names)))

    def client(self, stem, user, groups=()):
        """A client certificate as Kubernetes reads it: CN is the user, each O a group."""
        subject = "".join("/O=" + _escaped(group) for group in groups) + "/CN=" + _escaped(user)
        return self._signed(stem, subject, "extendedKeyUsage=clientAuth")

    def signing_key(self, stem):
        key = self._directory / f"{stem}.key"
        # The API server reads the public half out of an "EC PRIVATE KEY" block, not out of PKCS #8.
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        return key

    def _signed(self, stem, subject, *extensions):
        return self._create(stem, subject, "basicConstraints=critical,CA:FALSE",
                            "keyUsage=critical,digitalSignature", *extensions,
                            issuer=("-CA", self.ca, "-CAkey", self._ca_key))

    def _create(self, stem, subject, *extensions, issuer=()):
        certificate, key = self._directory / f"{stem}.crt", self._directory / f"{stem}.key"
        added = [word for extension in extensions for word in ("-addext", extension)]
        _openssl("req", "-x509", "-config", self._directory / "openssl.cnf", "-days", "30", "-noenc",
                 "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-utf8", "-subj", subject,
                 *added, *issuer, "-keyout", key, "-out", certificate)
        return certificate, key


def kubeconfig(server, ca, credentials):
    """The text of a kubeconfig file. `credentials` are the user's fields, as in the file."""
    user = "".join(f"    {field}: {value}\n" for field, value in credentials.items())
    return f"""\
apiVersion: v1
kind: Config
clusters:
- name: test
  cluster:
    server: {server}
    certificate-authority-data: {inline(ca)}
contexts:
- name: test
  context:
    cluster: test
    user: test
current-context: test
users:
- name: test
  user:
{user}"""


def inline(path):
    return base64.b64encode(path.read_bytes()).decode()


def _openssl(*words):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"openssl {words[0]}: {done.stderr}")


def _alternative_name(name):
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def _escaped(text):
    return "".join("\\" + letter if letter in "\\/+" else letter for letter in text)
