"""Certificates for tests, made with the openssl command: an authority, servers, clients, revocations."""

import subprocess


def openssl(folder, *arguments, text=None):
    done = subprocess.run(
        ["openssl", *map(str, arguments)], cwd=folder, input=text, capture_output=True, timeout=60,
        text=isinstance(text, str),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Authority:
    """An authority in a folder of its own; what it issues lies there too."""

    def __init__(self, folder, name="authority"):
        self.folder = folder / name
        self.folder.mkdir()
        self.certificate = self.folder / "ca.pem"
        self.serial = 100
        openssl(self.folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
        openssl(
            self.folder, "req", "-x509", "-new", "-key", "ca.key", "-subj", f"/CN={name}", "-days", 30, "-out", "ca.pem",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )
        (self.folder / "index.txt").touch()
        (self.folder / "ca.conf").write_text(
            "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\ndefault_md = sha256\ndefault_crl_days = 30\n"
        )

    def intermediate(self, name):
        """An authority whose own certificate is issued by this one."""
        made = Authority(self.folder, name)
        openssl(made.folder, "req", "-new", "-key", "ca.key", "-subj", f"/CN={name}", "-out", "ca.csr")
        (made.folder / "ca.ext").write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n")
        self.serial += 1
        openssl(
            made.folder, "x509", "-req", "-in", "ca.csr", "-CA", self.certificate, "-CAkey", self.folder / "ca.key",
            "-set_serial", self.serial, "-days", 30, "-extfile", "ca.ext", "-out", "ca.pem")
        return made

    def issue(self, name, *names, kind="ecdsa", days=30, extensions=()):
        """A certificate called `name`, good for the alternative names `names` (`DNS:…`, `URI:…`), with more `extensions`; the
        paths of it and of its key."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        self.serial += 1
        if kind == "ecdsa":
            openssl(self.folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        else:
            openssl(self.folder, "genrsa", "-out", key, 2048)
        key.chmod(0o600)
        openssl(self.folder, "req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", f"{name}.csr")
        (self.folder / f"{name}.ext").write_text(
            f"subjectAltName={','.join(names)}\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
            + "".join(f"{line}\n" for line in extensions)
        )
        openssl(
            self.folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-set_serial", self.serial, "-days", days, "-extfile", f"{name}.ext", "-out", certificate,
        )
        return certificate, key

    def revoke(self, *certificates):
        """A list of revoked certificates; its path."""
        for certificate in certificates:
            openssl(
                self.folder, "ca", "-config", "ca.conf", "-keyfile", "ca.key", "-cert", "ca.pem", "-revoke", certificate)
        openssl(
            self.folder, "ca", "-config", "ca.conf", "-keyfile", "ca.key", "-cert", "ca.pem", "-gencrl", "-out", "crl.pem")
        return self.folder / "crl.pem"

    def issue_asked(self, name, responder, *names, extensions=()):
        """A certificate that names an OCSP responder, with this authority's behind it."""
        issued = self.issue(name, *names, extensions=[f"authorityInfoAccess=OCSP;URI:{responder}", *extensions])
        issued[0].write_text(issued[0].read_text() + self.certificate.read_text())
        return issued

    def responder(self, port, *certificates, revoked=(), minutes=60):
        """A process that answers for this authority, on `port`, what it knows of certificates."""
        serial = lambda path: openssl(self.folder, "x509", "-in", path, "-noout", "-serial").decode().strip().split("=")[1]
        lines = [f"V\t350101000000Z\t\t{serial(one)}\tunknown\t/CN=any\n" for one in certificates]
        lines += [f"R\t350101000000Z\t250101000000Z\t{serial(one)}\tunknown\t/CN=any\n" for one in revoked]
        index = self.folder / f"responder-{port}.txt"
        index.write_text("".join(lines))
        return subprocess.Popen(
            ["openssl", "ocsp", "-index", index.name, "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key", "-port",
             str(port), "-nmin", str(minutes), "-ignore_err"],
            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def staple(self, certificate):
        """What the authority says of a certificate: an OCSP response in Base64; the path of the file."""
        serial = openssl(self.folder, "x509", "-in", certificate, "-noout", "-serial").decode().strip().split("=")[1]
        (self.folder / "ocsp.txt").write_text(f"V\t350101000000Z\t\t{serial}\tunknown\t/CN=any\n")
        openssl(
            self.folder, "ocsp", "-index", "ocsp.txt", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key",
            "-issuer", "ca.pem", "-cert", certificate, "-respout", "staple.der", "-ndays", 7,
        )
        path = self.folder / "staple.b64"
        path.write_bytes(openssl(self.folder, "base64", "-in", "staple.der"))
        return path
