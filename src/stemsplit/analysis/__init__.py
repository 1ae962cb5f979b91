"""What is heard in a stem: tempo and beats."""
