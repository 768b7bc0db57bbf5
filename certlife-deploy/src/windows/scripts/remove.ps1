<#
.SYNOPSIS
Removes certificates with their keys, and files that were kept for the central store.
.DESCRIPTION
Input:
  certificate    the name of the certificate
  certificates   store and thumbprint of what is to go
  kept           names of kept files that are to go
Output: nothing
Errors: not-found, denied, conflict, in-use, failed
#>
param($Request)

Invoke-Alone {
    foreach ($entry in $Request.certificates) {
        $store = Open-Store $entry.store 'ReadWrite'
        $certificate = Find-Certificate $store $entry.thumbprint
        if ($null -ne $certificate) {
            # The key first: a certificate without a key is found again, a key without a certificate is not. A process
            # that died while it imported the certificate may have left the key without saying so.
            if (-not (Test-Key $certificate)) {
                Restore-Key $entry.store $entry.thumbprint
                $store.Close()
                $store = Open-Store $entry.store 'ReadWrite'
                $certificate = Find-Certificate $store $entry.thumbprint
            }
            $key = Get-Key $certificate
            if ($key -is [System.Security.Cryptography.RSACryptoServiceProvider]) {
                $key.PersistKeyInCsp = $false
                $key.Clear()
            } elseif ($null -ne $key) {
                $key.Key.Delete()
            }
            $store.Remove($certificate)
        }
        $store.Close()
    }
    $directory = Get-KeptDirectory $Request.certificate
    if (-not [IO.Directory]::Exists($directory)) { return @{} }
    foreach ($name in $Request.kept) { [IO.File]::Delete([IO.Path]::Combine($directory, $name)) }
    # Without what is in it, it goes.
    [void] (Get-KeptDirectory $Request.certificate)
    @{}
}
