"""`pipecd import`: records of PipeCD's control plane become records of this one."""
