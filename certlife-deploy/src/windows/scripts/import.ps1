<#
.SYNOPSIS
Puts a certificate with its key into a store of the machine, and its intermediates where Windows looks for them.
.DESCRIPTION
Nothing is served differently afterwards: what is new is archived until the switch, so that programs which look for
certificates do not find it. What is there already is kept; its name and rights are put right.
Input:
  store         the name of a certificate store of the machine
  pfx           Base64 of a PFX with the certificate, its key and its intermediates
  password      the password of the PFX
  fingerprint   SHA-256 of the certificate, in lower-case hexadecimal digits
  name          the friendly name to be given
  exportable    whether the key may leave the machine again
  accounts      names of accounts that are to read the key
Output:
  thumbprint    SHA-1 of the certificate, as Windows names it, in lower-case hexadecimal digits
Errors: not-found, denied, in-use, bad-pfx, failed
#>
param($Request)

Invoke-Alone {
    $readers = @(foreach ($account in $Request.accounts) { Resolve-Account $account })
    $store = Open-Store $Request.store 'ReadWrite'
    $loaded = New-Object System.Security.Cryptography.X509Certificates.X509Certificate2Collection
    try {
        $ours = $null
        foreach ($certificate in $store.Certificates) {
            if ((Get-Sha256 $certificate.RawData) -eq $Request.fingerprint) { $ours = $certificate }
        }
        if ($null -ne $ours -and (Test-Key $ours)) {
            if ($ours.FriendlyName -cne $Request.name) { $ours.FriendlyName = $Request.name }
        } else {
            $flags = 'MachineKeySet, PersistKeySet'
            if ($Request.exportable) { $flags = $flags + ', Exportable' }
            try {
                $loaded.Import([Convert]::FromBase64String($Request.pfx), $Request.password, $flags)
            } catch [System.Security.Cryptography.CryptographicException] {
                Stop-Work 'bad-pfx' ($_.Exception.GetBaseException().Message)
            }
            $ours = $null
            foreach ($certificate in $loaded) {
                if ((Get-Sha256 $certificate.RawData) -eq $Request.fingerprint) { $ours = $certificate }
            }
            if ($null -eq $ours -or -not $ours.HasPrivateKey) {
                Stop-Work 'bad-pfx' 'the PFX holds another certificate, or no key for it'
            }
            # Before it is added, so that the certificate is never in the store without its name, nor found too early.
            $ours.FriendlyName = $Request.name
            $ours.Archived = $true
            $store.Add($ours)
            $authorities = Open-Store 'CA' 'ReadWrite'
            foreach ($certificate in $loaded) {
                $root = $certificate.Subject -eq $certificate.Issuer
                if (-not $certificate.HasPrivateKey -and -not $root) { $authorities.Add($certificate) }
            }
            $authorities.Close()
        }

        if ($readers.Count -gt 0) {
            $key = Get-Key $ours
            if ($key -is [System.Security.Cryptography.RSACryptoServiceProvider]) {
                $file = $key.CspKeyContainerInfo.UniqueKeyContainerName
            } else {
                $file = $key.Key.UniqueName
            }
            $crypto = [IO.Path]::Combine([Environment]::GetFolderPath('CommonApplicationData'), 'Microsoft', 'Crypto')
            $path = [IO.Path]::Combine($crypto, 'Keys', $file)
            if (-not [IO.File]::Exists($path)) { $path = [IO.Path]::Combine($crypto, 'RSA', 'MachineKeys', $file) }
            $rights = [IO.File]::GetAccessControl($path)
            foreach ($reader in $readers) {
                $rights.AddAccessRule((New-Object System.Security.AccessControl.FileSystemAccessRule($reader, 'Read', 'Allow')))
            }
            [IO.File]::SetAccessControl($path, $rights)
        }
        @{ thumbprint = $ours.Thumbprint.ToLowerInvariant() }
    } finally {
        foreach ($certificate in $loaded) { $certificate.Dispose() }
        $store.Close()
    }
}
