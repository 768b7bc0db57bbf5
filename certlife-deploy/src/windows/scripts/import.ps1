<#
.SYNOPSIS
Puts a certificate with its key into a store of the machine, and its intermediates where Windows looks for them.
.DESCRIPTION
Nothing is served differently afterwards: what is new is archived until the switch, so that programs which look for
certificates do not find it. What is there already is kept; its name and rights are put right. The certificate comes
before its key, so that no key is ever on the machine that cannot be found by its certificate.
Input:
  store         the name of a certificate store of the machine
  certificate   Base64 of the certificate
  authorities   Base64 of each of its intermediates
  pfx           Base64 of a PFX with the certificate and its key
  password      the password of the PFX
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
    $authorities = Open-Store 'CA' 'ReadWrite'
    foreach ($authority in $Request.authorities) {
        $certificate = New-Object System.Security.Cryptography.X509Certificates.X509Certificate2(, [Convert]::FromBase64String($authority))
        $known = Find-Certificate $authorities $certificate.Thumbprint
        if ($null -eq $known -and $certificate.Subject -ne $certificate.Issuer) { $authorities.Add($certificate) }
    }
    $authorities.Close()

    $store = Open-Store $Request.store 'ReadWrite'
    $loaded = New-Object System.Security.Cryptography.X509Certificates.X509Certificate2Collection
    try {
        $bare = New-Object System.Security.Cryptography.X509Certificates.X509Certificate2(, [Convert]::FromBase64String($Request.certificate))
        $ours = Find-Certificate $store $bare.Thumbprint
        $added = $null -eq $ours
        if (-not $added -and -not (Test-Key $ours)) {
            # A process that died may have brought the key.
            Restore-Key $Request.store $bare.Thumbprint
            $store.Close()
            $store = Open-Store $Request.store 'ReadWrite'
            $ours = Find-Certificate $store $bare.Thumbprint
        }
        if ($null -ne $ours -and (Test-Key $ours)) {
            if ($ours.FriendlyName -cne $Request.name) { $ours.FriendlyName = $Request.name }
        } else {
            if ($added) {
                # Before it is added, so that the certificate is never in the store without its name, nor found too early.
                $bare.FriendlyName = $Request.name
                $bare.Archived = $true
                $store.Add($bare)
            }
            $flags = 'MachineKeySet, PersistKeySet'
            if ($Request.exportable) { $flags = $flags + ', Exportable' }
            try {
                $loaded.Import([Convert]::FromBase64String($Request.pfx), $Request.password, $flags)
            } catch [System.Security.Cryptography.CryptographicException] {
                if ($added) { $store.Remove($bare) }
                Stop-Work 'bad-pfx' ($_.Exception.GetBaseException().Message)
            }
            $ours = $null
            foreach ($certificate in $loaded) {
                if ($certificate.Thumbprint -eq $bare.Thumbprint) { $ours = $certificate }
            }
            if ($null -eq $ours -or -not $ours.HasPrivateKey) {
                if ($added) { $store.Remove($bare) }
                Stop-Work 'bad-pfx' 'the PFX holds another certificate, or no key for it'
            }
            $ours.FriendlyName = $Request.name
            $ours.Archived = $true
            # In place of the one without a key.
            $store.Add($ours)
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
